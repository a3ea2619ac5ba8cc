"""One outer algorithm in each file: which pools to start with and how they grow.

`make(...)` returns a `Policy` that acts through a `Lab` alone. It must not know models,
jit or devices.
"""
