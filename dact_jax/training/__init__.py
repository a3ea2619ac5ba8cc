"""One network: a step, a loop of steps, an optimizer, and inference over a pool.

A network and batches in, a trained network or evidence out. It must not know which
method it trains, nor rounds, policies or a run's folder.
"""
