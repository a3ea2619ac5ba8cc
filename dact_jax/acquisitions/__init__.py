"""One way to rank a pool in each file: evidence in, rows in pick order out.

Each file has `make(**options)`, which returns an `Acquire`. Acquisitions know no
models, no rounds and no labels of the target pool.
"""
