"""Files of a selection without training: pools, lists of labelled rows, picks.

Knows no methods: it reads and writes, and names what is wrong with a file.
"""
