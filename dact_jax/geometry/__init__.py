"""k-center and k-means: arrays of points in, row numbers and centroids out.

Knows devices and memory. Knows nothing of images, networks, labels or rounds.
"""
