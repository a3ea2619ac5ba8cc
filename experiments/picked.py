"""How picks differ from their pool: class frequencies, and distance to the others."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn import neighbors

from dact_jax.types import Domain


def variation(count: ArrayLike, other: ArrayLike) -> float:
    """Total variation of two class distributions; 0: equal, 1: no class in common.

    Args:
      count: int[K], samples of each class.
      other: int[K], samples of each class in another set.
    """
    p, q = (np.asarray(counts, np.float64) for counts in (count, other))
    return float(np.abs(p / p.sum() - q / q.sum()).sum() / 2)


def apart(domain: Domain) -> np.ndarray:
    """How far each sample of a pool lies from the others, float64[N].

    It is the share of the pool with a smaller Euclidean distance to the nearest
    neighbor, of the images or vectors as they are stored: 0.5 is usual, 1 an outlier.

    Args:
      domain: its `train` is the pool.
    """
    points = np.asarray(domain.train.image[:]).reshape(len(domain.id), -1)
    points = points.astype(np.float32)
    search = neighbors.NearestNeighbors(n_neighbors=2, algorithm="brute").fit(points)
    nearest = search.kneighbors(points)[0][:, 1]
    return np.searchsorted(np.sort(nearest), nearest) / len(nearest)
