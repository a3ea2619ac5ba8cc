"""One form of data in each file: a path in, a `Dataset` out; `sources` names them.

A new source of data is one reader here. It must not know splits, batches or networks.
"""
