"""One way to rank a pool in each file: evidence in, rows in pick order out.

`make(**options)` returns an `Acquire`. It must not know models, rounds, or any label of
the target pool.
"""
