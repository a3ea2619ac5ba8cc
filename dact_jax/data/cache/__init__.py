"""Decoded and resized image files, kept in a folder for this and for later runs.

Takes paths of files and a `Form`; gives their pixels, as `decoding.decode` does. It
must not know of domains, labels or configs.
"""
