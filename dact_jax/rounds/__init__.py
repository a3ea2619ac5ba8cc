"""The outer loop over rounds, and all that makes it resumable.

Train, evaluate, select, ask the oracle, save: in a run's folder (`workdir`), from its
last checkpoint. It must not know which method, acquisition or policy it runs.
"""
