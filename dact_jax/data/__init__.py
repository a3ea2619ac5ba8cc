"""From files to batches: `readers`, `splits` and `streams`.

A reader returns a `Dataset`, `splits` makes a `Task` of two, and `streams` draws the
batches of a round. A new kind of data is one file in `readers`.
No module here depends on networks.
"""
