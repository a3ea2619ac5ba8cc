"""CLUE (Prabhu et al., ICCV 2021): the images nearest to uncertainty-weighted clusters.

K-means on the embedding, each image weighted by the entropy of its prediction, with as
many clusters as labels can be bought.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors
from dact_jax.acquisitions import _ranking
from dact_jax.geometry import k_means
from dact_jax.types import Acquire, Array, Evidence, Key, Picked

_EPSILON = 1e-8  # added to each probability, as in the reference code
_BLOCK = 4096  # most points turned to float64 at once
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
    check(temperature=temperature, restarts=restarts)

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        free = _ranking.free_rows(taken, budget)
        if budget in (0, free.size):
            return Picked(free[:budget], np.zeros(budget, np.float32))
        logits = _ranking.matrix(
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
        return Picked(*nearest(evidence.embedding, found.centroid, free))

    return acquire


def check(*, temperature: float, restarts: int) -> None:
    """Raises InputError if an option is out of its range."""
    if not 0 < temperature < np.inf:
        raise errors.InputError(
            f"acquisitions.clue.temperature={temperature} must be above 0 and finite."
        )
    if restarts < 1:
        raise errors.InputError(
            f"acquisitions.clue.restarts={restarts} must be at least 1."
        )


def uncertainty(logits: Array, temperature: float) -> jax.Array:
    """float32[N], -sum_k q log q with q = softmax(logits / T) + 1e-8: CLUE's weights.

    Args:
      logits: float32[N, K].
      temperature: T.
    """
    q = jax.nn.softmax(jnp.asarray(logits, jnp.float32) / temperature) + _EPSILON
    # A sure prediction may round to a weight of 0 or less; the point still counts.
    return jnp.maximum(-jnp.sum(q * jnp.log(q), -1), _EPSILON)


def nearest(
    points: Array, centroid: Array, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As many distinct points as there are centroids, by the reference's rule.

    Each centroid takes its nearest point, without repeats. While `rem` points lack,
    the first `rem` centroids take their next nearest one. Ties go to the lowest row.
    In float64 on the host, as scikit-learn's distances are; the points are read block
    by block, and the distances of one block are held at a time (32 MiB).

    Args:
      points: float32[N, F].
      centroid: float32[k, F].
      rows: int[n], those that may be taken, k <= n, rising; all by default.

    Returns:
      row int32[k], in the order taken; distance float32[k] to the centroid that took
      it.
    """
    points, centroid = np.asarray(points), np.asarray(centroid, np.float64)
    rows = np.arange(len(points)) if rows is None else rows
    taker: dict[int, int] = {}  # row -> centroid, in the order taken
    order, rank, lacking = np.zeros((0, 0), np.int64), 0, len(centroid)
    while lacking:
        if rank == order.shape[1]:
            # The k nearest to one centroid are k points: no rank beyond is needed.
            ranks = min(4 * rank or 1, len(centroid))
            order = _closest(points, centroid[:lacking], rows, ranks)
        for number, row in enumerate(order[:lacking, rank].tolist()):
            taker.setdefault(row, number)
        lacking, rank = len(centroid) - len(taker), rank + 1
    row = np.array(list(taker), np.int32)
    gap = points[row] - centroid[list(taker.values())]
    return row, np.linalg.norm(gap, axis=-1).astype(np.float32)


def _closest(
    points: np.ndarray, centroid: np.ndarray, rows: np.ndarray, ranks: int
) -> np.ndarray:
    """int64[k, ranks], of some rows those nearest to each centroid, in order."""
    middle = centroid.mean(0)  # of points and centroids alike, nearly
    scaled = -2 * (centroid - middle)
    size = max(1, min(_BLOCK, _MAX_PAIRS // len(centroid)))
    # What is known so far: pairs in the order of centroid, distance and row.
    number, found = np.zeros((2, 0), np.int64)
    least = np.zeros(0)
    for first in range(0, len(rows), size):
        part = points[rows[first : first + size]] - middle
        squared = scaled @ part.T + np.einsum("nf,nf->n", part, part)  # [k, size]
        if len(least) == ranks * len(centroid):
            worst = least.reshape(-1, ranks)[:, -1:]
        elif ranks < len(part):
            worst = np.partition(squared, ranks - 1)[:, ranks - 1 : ranks]
        else:
            worst = np.full((len(centroid), 1), np.inf)
        who, where = np.nonzero(squared <= worst)
        number = np.append(number, who)
        found = np.append(found, rows[first + where])
        least = np.append(least, squared[who, where])
        order = np.lexsort((found, least, number))
        number, found, least = number[order], found[order], least[order]
        begin = np.searchsorted(number, number)
        best = np.arange(len(number)) - begin < ranks
        number, found, least = number[best], found[best], least[best]
    return found.reshape(-1, ranks)
