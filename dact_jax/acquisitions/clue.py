"""CLUE (Prabhu et al., ICCV 2021): the images nearest to uncertainty-weighted clusters.

K-means on the embedding, each image weighted by the entropy of its prediction, with as
many clusters as labels can be bought.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors, k_means, pool
from dact_jax.types import Acquire, Array, Evidence, Key, Picked

_EPSILON = 1e-8  # added to each probability, as in the reference code
_BLOCK = 4096  # points turned to float64 at once
_MAX_PAIRS = 2**22  # float64 distances held at once


def make(*, temperature: float = 1.0, restarts: int = 10) -> Acquire:
    """One pick a cluster; the score is its distance to the centroid it stands for.

    Picks come in the order of the centroids, then those that fill up for centroids
    with the same nearest image. A budget of all that is left needs no clusters: every
    image is its own centroid.

    Args:
      temperature: divides the logits (CLUE: 1.0 for digits, 0.1 for DomainNet).
      restarts: of k-means; the reference ran 10.

    Raises:
      InputError: an option is out of its range.
    """
    if not 0 < temperature < np.inf:
        raise errors.InputError(
            f"acquisitions.clue.temperature={temperature} must be above 0 and finite."
        )
    if restarts < 1:
        raise errors.InputError(
            f"acquisitions.clue.restarts={restarts} must be at least 1."
        )

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        free = pool.free_rows(taken, budget)
        if budget in (0, free.size):
            return Picked(free[:budget], np.zeros(budget, np.float32))
        logits = pool.matrix(
            evidence.outputs.get("classifier"), "classifier", taken.size
        )
        weight = uncertainty(logits, temperature)
        found = k_means.k_means(
            evidence.embedding,
            jnp.where(jnp.asarray(taken), 0.0, weight),
            budget,
            restarts=restarts,
            key=key,
        )
        position, distance = nearest(evidence.embedding[free], found.centroid)
        return Picked(free[position], distance)

    return acquire


def uncertainty(logits: Array, temperature: float) -> jax.Array:
    """float32[N], -sum_k q log q with q = softmax(logits / T) + 1e-8: CLUE's weights.

    Args:
      logits: float32[N, K].
      temperature: T.
    """
    q = jax.nn.softmax(jnp.asarray(logits, jnp.float32) / temperature) + _EPSILON
    # A sure prediction may round to a weight of 0 or less; the point still counts.
    return jnp.maximum(-jnp.sum(q * jnp.log(q), -1), _EPSILON)


def nearest(points: Array, centroid: Array) -> tuple[np.ndarray, np.ndarray]:
    """As many distinct points as there are centroids, by the reference's rule.

    Each centroid takes its nearest point, without repeats. While `rem` points lack,
    the first `rem` centroids take their next nearest one. Ties go to the lowest row.
    In float64 on the host, as scikit-learn's distances are.

    Args:
      points: float32[N, F].
      centroid: float32[k, F], k <= N.

    Returns:
      row int32[k], in the order taken; distance float32[k] to the centroid that took
      it.
    """
    points, centroid = np.asarray(points), np.asarray(centroid, np.float64)
    best = np.concatenate([d.argmin(1) for d in _distances(points, centroid)])
    taker: dict[int, int] = {}  # row -> centroid, in the order taken
    for number, row in enumerate(best.tolist()):
        taker.setdefault(row, number)
    lacking, rank = len(centroid) - len(taker), 0
    if lacking:
        order = np.concatenate(
            [
                d.argsort(1, kind="stable").astype(np.int32)
                for d in _distances(points, centroid[:lacking])
            ]
        )
    while lacking:
        rank += 1
        for number, row in enumerate(order[:lacking, rank].tolist()):
            taker.setdefault(row, number)
        lacking = len(centroid) - len(taker)
    row = np.array(list(taker), np.int32)
    gap = points[row] - centroid[list(taker.values())]
    return row, np.linalg.norm(gap, axis=-1).astype(np.float32)


def _distances(points: np.ndarray, centroid: np.ndarray) -> Iterator[np.ndarray]:
    """Yields float64[rows, N], less |centroid|^2: squared, for blocks of centroids."""
    middle = points.mean(0, dtype=np.float64)
    size = max(1, _MAX_PAIRS // len(points))
    for start in range(0, len(centroid), size):
        some = centroid[start : start + size] - middle
        squared = np.empty((len(some), len(points)))
        for first in range(0, len(points), _BLOCK):
            part = points[first : first + _BLOCK] - middle
            squared[:, first : first + _BLOCK] = (part**2).sum(-1) - 2 * some @ part.T
        yield squared
