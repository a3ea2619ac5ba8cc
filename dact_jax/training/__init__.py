"""Training and applying one network: steps, optimizers, schedules, sweeps over a pool.

Takes a network, a method and batches; gives a trained network or evidence. It works
with any method, and knows no rounds, policies or run folders.
"""
