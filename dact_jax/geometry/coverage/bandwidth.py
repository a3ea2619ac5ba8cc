"""Scales of kernels that follow from the points."""

import numpy as np

from dact_jax.geometry.coverage import kernels
from dact_jax.geometry.neighbors import graph

SAMPLE = 1024  # points, equally spaced, of which distances are taken
_LEAST = 2 * kernels.LEAST_SCALE**2  # squared distance


def median_distance(points: np.ndarray) -> float:
    """The median Euclidean distance of pairs of points.

    Where it is 0, of the pairs that differ; 1 where no pair does. Distances that are
    too small to be a scale count as 0.

    Args:
      points: float[n, F], finite.
    """
    squared = np.sort(_squared_distances(points))
    positive = squared[squared >= _LEAST]
    if not len(positive):
        return 1.0
    middle = float(np.median(squared))
    return float(np.sqrt(middle if middle >= _LEAST else np.median(positive)))


def least_distance(points: np.ndarray) -> float | None:
    """The smallest distance of two points that differ; None if there are none.

    None, too, where it is too small to be a scale.

    Args:
      points: float[n, F], finite.
    """
    distinct = np.unique(points, axis=0)
    if len(distinct) < 2:
        return None
    near = graph.nearest(distinct, 1)
    row = int(np.argmin(near.distance[:, 0]))
    pair = distinct[[row, int(near.row[row, 0])]].astype(np.float64)
    squared = np.square(pair[0] - pair[1]).sum()
    return float(np.sqrt(squared)) if squared >= _LEAST else None


def _squared_distances(points: np.ndarray) -> np.ndarray:
    """float64[n (n - 1) / 2], of all pairs, by differences: 0 for copies alone."""
    points = points.astype(np.float64)
    rows = [
        np.square(points[at + 1 :] - point).sum(1)
        for at, point in enumerate(points[:-1])
    ]
    return np.concatenate(rows) if rows else np.zeros(0)
