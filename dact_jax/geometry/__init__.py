"""Arrays of points in, row numbers out: k-center, k-means and what they are made of.

It knows devices and memory. It must not know images, networks, labels or rounds.
"""
