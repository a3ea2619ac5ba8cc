"""Training methods, one a file: the heads and losses that its paper states.

`make(num_classes, **options)` returns a `Method`. A method knows the network and the
batches of one iteration, but no optimizers, data sources, devices or rounds.
"""
