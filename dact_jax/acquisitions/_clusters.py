"""Diverse rows: one of each cluster of k-means."""

import jax.numpy as jnp
import numpy as np

from dact_jax.acquisitions import clue
from dact_jax.geometry import k_means
from dact_jax.types import Array, Key


def one_each(
    points: Array, rows: np.ndarray, budget: int, *, restarts: int, key: Key
) -> np.ndarray:
    """int32[budget], of some rows those nearest to the centroids of as many clusters.

    In the order of the centroids; distinct also where clusters coincide, by the rule of
    `clue.nearest`.

    Args:
      points: float32[N, F].
      rows: int32[n], ascending, n >= budget.
      budget: number of clusters.
      restarts: of k-means.
    """
    if budget in (0, len(rows)):
        return rows[:budget]
    chosen = np.asarray(points, np.float32)[rows]
    weight = jnp.ones(len(rows), jnp.float32)
    clusters = k_means.k_means(chosen, weight, budget, restarts=restarts, key=key)
    place, _ = clue.nearest(chosen, clusters.centroid)
    return rows[place]
