"""One outer algorithm in each file: which pools a run starts with and how they grow.

Each file has `make(...)`, which returns a `Policy`. Policies act only through a `Lab`:
they know no models, no jit and no devices.
"""
