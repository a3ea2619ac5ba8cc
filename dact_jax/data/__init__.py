"""From files to batches: a reader per format, `splits` and `streams`.

A reader returns a `Dataset`, `splits` makes a `Task` of two, and `streams` draws the
batches of a round. A new kind of data is a new reader here and a branch in `sources`.
No module here depends on networks.
"""
