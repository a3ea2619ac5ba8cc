"""What picks are like: their classes, and whether they lie apart from the rest."""

from collections.abc import Sequence

import numpy as np
from sklearn import neighbors

from dact_jax.types import Domain


def variation(one: Sequence[int], other: Sequence[int]) -> float:
    """Total variation of two distributions of classes; 0: the same, 1: none in common.

    Args:
      one: samples of each class.
      other: the same of another set.
    """
    a, b = (np.asarray(counts, np.float64) for counts in (one, other))
    return float(np.abs(a / a.sum() - b / b.sum()).sum() / 2)


def apart(domain: Domain) -> np.ndarray:
    """float64[N], share of a pool whose nearest neighbour is nearer than one's own.

    By Euclidean distance of what is stored: 0.5 is usual, 1 an outlier.

    Args:
      domain: whose `train` is the pool.
    """
    points = np.asarray(domain.train.image[:]).reshape(len(domain.id), -1)
    points = points.astype(np.float32)
    search = neighbors.NearestNeighbors(n_neighbors=2, algorithm="brute").fit(points)
    nearest = search.kneighbors(points)[0][:, 1]
    return np.searchsorted(np.sort(nearest), nearest) / len(nearest)
