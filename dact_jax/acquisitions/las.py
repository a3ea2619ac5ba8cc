"""LAS, the sampling of LADA (Sun et al., ICCV 2023): inconsistent neighborhoods.

With the k nearest free rows x_j of a free row x by the cosine of their embeddings, and
class probabilities p,

    Q(x) = -sum_j w_j <p(x), p(x_j)>,
    Q'(x) = (Q(x) + sum_j w_j Q(x_j)) / 2,

where w_j is the cosine similarity, none below 0, divided by their sum: so Q says how
much the neighbors disagree, not how far away they are. One such step smooths the scores
over the graph. Of the (1 + M) b rows of highest Q', k-means makes b clusters, and the
row nearest to each centroid is picked.
"""

import math

import jax.numpy as jnp
import numpy as np

from dact_jax import kinds, ops
from dact_jax.acquisitions import _clusters, _ranking
from dact_jax.geometry.neighbors import graph
from dact_jax.geometry.neighbors.graph import Neighbors
from dact_jax.types import Acquire, Evidence, Key, Picked

OPTIONS = {
    "neighbors": kinds.Option(kinds.whole(1), "k, the neighborhood of an image"),
    "more": kinds.Option(
        kinds.real(), "M, candidates beyond the budget, as a multiple of it"
    ),
    "restarts": kinds.Option(kinds.whole(1, 10_000), "runs of k-means; the best wins"),
}


def make(*, neighbors: int = 10, more: float = 10.0, restarts: int = 10) -> Acquire:
    """One of each cluster of the rows with the least consistent neighborhoods.

    Picks come in the order of the centroids; the score is Q'. Embeddings are divided by
    their length, for the clusters, too. Ties of Q' go to the lowest row.

    Args:
      neighbors: k, fewer where fewer rows are free.
      more: M; (1 + M) b is rounded up.
      restarts: of k-means.
    """

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        free = _ranking.free_rows(taken, budget)
        logits = _ranking.class_logits(evidence, taken.size)
        if budget == 0:
            return Picked(free[:0], np.zeros(0, np.float32))
        embedding = np.asarray(evidence.embedding, np.float32)[free]
        near = graph.nearest(embedding, neighbors, metric="cosine")
        value = inconsistency(near, np.asarray(logits, np.float64)[free])
        kept = min(math.ceil((1 + more) * budget), free.size)
        best = np.sort(np.argsort(-value, kind="stable")[:kept])
        points = ops.normalize(jnp.asarray(embedding[best]))
        place = np.arange(kept, dtype=np.int32)
        place = _clusters.one_each(points, place, budget, restarts=restarts, key=key)
        return Picked(free[best[place]], value[best[place]])

    return acquire


def inconsistency(near: Neighbors, logits: np.ndarray) -> np.ndarray:
    """float32[N], Q' of each row.

    Args:
      near: k neighbors of each row, by cosine. Without any, Q' is 0.
      logits: float64[N, K].
    """
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    similarity = np.maximum(1 - near.distance.astype(np.float64), 0)
    similarity[~similarity.any(1)] = 1  # none is on its side: all count alike
    weight = similarity / np.maximum(similarity.sum(1, keepdims=True), 1e-300)
    score = np.zeros(len(p))
    for column, share in zip(near.row.T, weight.T, strict=True):
        score -= share * np.einsum("nk,nk->n", p, p[column])
    smooth = np.einsum("nj,nj->n", weight, score[near.row])
    return ((score + smooth) / 2).astype(np.float32)
