"""One training method in each file: heads and losses, as its paper states them.

`make(num_classes, **options)` returns a `Method`. It must not know optimizers, data
sources, devices or rounds.
"""
