"""The nearest neighbors as the definition reads, in float64."""

import itertools

import numpy as np


def unit(points):
    """float64[N, F], rows of length 1; rows of zeros stay."""
    points = np.asarray(points).astype(np.float64)
    length = np.linalg.norm(points, axis=1, keepdims=True)
    return points / np.where(length == 0, 1, length)


def neighbors(points, count, metric="euclidean"):
    """(int[N, k] rows, float64[N, k] distances), the lowest row first of those tied."""
    points = unit(points) if metric == "cosine" else points.astype(np.float64)
    floor = 1e-28 if metric == "cosine" else 0.0
    rows, distances = [], []
    for row, point in enumerate(points):
        squared = ((points - point) ** 2).sum(-1)
        order = sorted(range(len(points)), key=lambda other: squared[other])
        groups = [[order[0]]]
        for before, other in itertools.pairwise(order):
            if squared[other] > squared[before] * (1 + 1e-12) + floor:
                groups.append([])
            groups[-1].append(other)
        nearest = [other for group in groups for other in sorted(group)]
        nearest = [other for other in nearest if other != row][:count]
        rows.append(nearest)
        found = squared[nearest]
        distances.append(found / 2 if metric == "cosine" else np.sqrt(found))
    shape = len(points), min(count, len(points) - 1)
    return np.reshape(rows, shape).astype(int), np.reshape(distances, shape)
