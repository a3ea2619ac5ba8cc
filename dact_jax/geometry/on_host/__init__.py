"""Comparisons in NumPy, for a pool on the host whose only device is the CPU.

Nothing is compiled, products have just the size that is needed, and threads take blocks
of rows each.
"""
