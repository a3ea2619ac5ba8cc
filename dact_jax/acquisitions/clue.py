"""CLUE (Prabhu et al., ICCV 2021): the images nearest to uncertainty-weighted clusters.

K-means on the embedding with one cluster for each label that is bought. The weight of
an image is the entropy of its prediction,
w_i = -sum_k q_ik log q_ik with q_i = softmax(logits_i / T) + 1e-8.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import kinds
from dact_jax.acquisitions import _ranking
from dact_jax.geometry import k_means
from dact_jax.types import Acquire, Array, Evidence, Key, Picked

_EPSILON = 1e-8  # added to each probability, as in the reference code
_BLOCK = 4096  # maximum number of points converted to float64 at once
_MAX_PAIRS = 2**22  # maximum number of float64 distances in memory


OPTIONS = {
    "temperature": kinds.Option(kinds.positive(), "T, which divides the logits"),
    "restarts": kinds.Option(kinds.whole(1, 10_000), "runs of k-means; the best wins"),
}


def make(*, temperature: float = 1.0, restarts: int = 10) -> Acquire:
    """One pick for each cluster; the score is its distance to the cluster's centroid.

    Picks come in the order of the centroids, followed by those that fill up where
    several centroids have the same nearest image. If the budget is all free rows, they
    are returned as they are, with score 0: every image is its own centroid.

    Args:
      temperature: T, divides the logits (CLUE: 1.0 for digits, 0.1 for DomainNet).
      restarts: of k-means; the reference code runs 10.
    """

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        free = _ranking.free_rows(taken, budget)
        if budget in (0, free.size):
            return Picked(free[:budget], np.zeros(budget, np.float32))
        logits = _ranking.class_logits(evidence, taken.size)
        weight = uncertainty(logits, temperature)
        clusters = k_means.k_means(
            evidence.embedding,
            jnp.where(jnp.asarray(taken), 0.0, weight),
            budget,
            restarts=restarts,
            key=key,
        )
        return Picked(*nearest(evidence.embedding, clusters.centroid, free))

    return acquire


def uncertainty(logits: Array, temperature: float) -> jax.Array:
    """float32[N], the weights w_i of CLUE, at least 1e-8.

    Args:
      logits: float32[N, K].
      temperature: T.
    """
    q = jax.nn.softmax(jnp.asarray(logits, jnp.float32) / temperature) + _EPSILON
    # The weight of a certain prediction may round to 0 or less, but a row of weight 0
    # is left out of k-means.
    return jnp.maximum(-jnp.sum(q * jnp.log(q), -1), _EPSILON)


def nearest(
    points: Array, centroid: Array, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """One distinct point for each centroid, by the rule of the reference code.

    Each centroid takes its nearest point; a point is taken once. While m points are
    missing, the first m centroids take their next nearest points. Ties go to the
    lowest row. Distances are float64 on the host, as in scikit-learn; points are read
    block by block, and only one block's distances (32 MiB) are in memory.

    Args:
      points: float32[N, F].
      centroid: float32[k, F].
      rows: int[n], ascending, the points that may be taken, n >= k; default: all.

    Returns:
      row int32[k], in the order taken; distance float32[k] to the centroid that took
      it.
    """
    points, centroid = np.asarray(points), np.asarray(centroid, np.float64)
    rows = np.arange(len(points)) if rows is None else rows
    taker: dict[int, int] = {}  # row -> centroid, in the order taken
    order, rank, missing = np.zeros((0, 0), np.int64), 0, len(centroid)
    while missing:
        if rank == order.shape[1]:
            # Rank k is never reached: the k nearest points of one centroid suffice.
            num_ranks = min(4 * rank or 1, len(centroid))
            order = _closest(points, centroid[:missing], rows, num_ranks)
        for number, row in enumerate(order[:missing, rank].tolist()):
            taker.setdefault(row, number)
        missing, rank = len(centroid) - len(taker), rank + 1
    row = np.array(list(taker), np.int32)
    gap = points[row] - centroid[list(taker.values())]
    return row, np.linalg.norm(gap, axis=-1).astype(np.float32)


def _closest(
    points: np.ndarray, centroid: np.ndarray, rows: np.ndarray, num_ranks: int
) -> np.ndarray:
    """int64[k, num_ranks], the rows nearest to each centroid, nearest first."""
    center = centroid.mean(0)  # small numbers keep the expanded squares accurate
    scaled = -2 * (centroid - center)
    size = max(1, min(_BLOCK, _MAX_PAIRS // len(centroid)))
    # The best pairs so far, sorted by centroid, distance and row.
    owner, candidate = np.zeros((2, 0), np.int64)
    distance = np.zeros(0)  # squared, without the centroid's own norm
    for first in range(0, len(rows), size):
        block = points[rows[first : first + size]] - center
        squared = scaled @ block.T + np.einsum("nf,nf->n", block, block)  # [k, size]
        if len(distance) == num_ranks * len(centroid):
            worst = distance.reshape(-1, num_ranks)[:, -1:]
        elif num_ranks < len(block):
            worst = np.partition(squared, num_ranks - 1)[:, num_ranks - 1 : num_ranks]
        else:
            worst = np.full((len(centroid), 1), np.inf)
        new_owner, place = np.nonzero(squared <= worst)
        owner = np.append(owner, new_owner)
        candidate = np.append(candidate, rows[first + place])
        distance = np.append(distance, squared[new_owner, place])
        order = np.lexsort((candidate, distance, owner))
        owner, candidate, distance = owner[order], candidate[order], distance[order]
        begin = np.searchsorted(owner, owner)
        best = np.arange(len(owner)) - begin < num_ranks
        owner, candidate, distance = owner[best], candidate[best], distance[best]
    return candidate.reshape(-1, num_ranks)
