"""k-center, coverage, neighbors and k-means: points in, row numbers or centroids out.

Knows devices and memory. Knows nothing of images, networks, labels or rounds.
"""
