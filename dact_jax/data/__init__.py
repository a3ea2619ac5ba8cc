"""Files in, batches out: readers give a `Dataset`, `splits` a `Task`, `streams` draw.

A new source of data is one reader here, named in `sources`. It must not know networks.
"""
