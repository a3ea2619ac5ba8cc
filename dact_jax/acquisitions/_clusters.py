"""Diverse rows: one of each cluster of k-means."""

import numpy as np

from dact_jax.acquisitions import clue
from dact_jax.geometry import k_means
from dact_jax.types import Array, Key


def one_each(
    points: Array, rows: np.ndarray, budget: int, *, restarts: int, key: Key
) -> np.ndarray:
    """int32[budget], of some rows those nearest to the centroids of as many clusters.

    In the order of the centroids; distinct also where clusters coincide, by the rule of
    `clue.nearest`. Other rows have weight 0 in k-means, which keeps the shapes of one
    round for the next.

    Args:
      points: float32[N, F], of which k-means makes clusters.
      rows: int32[n], ascending, n >= budget.
      budget: number of clusters.
      restarts: of k-means.
    """
    if budget in (0, len(rows)):
        return rows[:budget]
    weight = np.zeros(len(points), np.float32)
    weight[rows] = 1
    clusters = k_means.k_means(points, weight, budget, restarts=restarts, key=key)
    return clue.nearest(points, clusters.centroid, rows)[0]
