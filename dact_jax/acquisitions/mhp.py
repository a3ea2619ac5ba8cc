"""Minimum happy points (MHPL; Wang et al., CVPR 2023): mixed yet close neighborhoods.

With the q nearest neighbors of a row by the cosine of their embeddings, and the class
that the classifier predicts for each, the score is purity x affinity:

    purity = -sum_c s_c log s_c, s_c the share of class c among the q predictions,
    affinity = the mean cosine similarity to the q neighbors, none below 0.

The paper calls that entropy purity; it is 0 where all neighbors are of one class.
Where it is silent: predictions are those of the classifier, not of clusters; neighbors
are rows of the whole pool; and the neighbors of every picked row are passed over, also
those of rows labelled before, as long as there are others.
"""

import numpy as np

from dact_jax import kinds
from dact_jax.acquisitions import _ranking
from dact_jax.geometry.neighbors import graph
from dact_jax.geometry.neighbors.graph import Neighbors
from dact_jax.types import Acquire, Evidence, Key, Picked

_ROWS = 1024  # whose votes, a number a class, are held at once

OPTIONS = {"neighbors": kinds.Option(kinds.whole(1), "q, the neighborhood of an image")}


def make(*, neighbors: int = 10) -> Acquire:
    """The rows of highest score that are no neighbors of picks, then the others.

    Both in the order of their scores; ties go to the lowest row.

    Args:
      neighbors: q, fewer in a pool that has fewer.
    """

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        del key
        free = _ranking.free_rows(taken, budget)
        logits = _ranking.class_logits(evidence, taken.size)
        if budget == 0:
            return Picked(free[:0], np.zeros(0, np.float32))
        near = graph.nearest(evidence.embedding, neighbors, metric="cosine")
        value = scores(near, np.asarray(logits).argmax(1))
        order = free[np.argsort(-value[free], kind="stable")]
        row = apart(order, near.row, taken, budget)
        return Picked(row, value[row])

    return acquire


def scores(near: Neighbors, predicted: np.ndarray) -> np.ndarray:
    """float32[N], purity x affinity; 0 for a row without neighbors.

    Args:
      near: q neighbors of each row, by cosine.
      predicted: int[N], classes.
    """
    num, count = near.row.shape
    if count == 0:
        return np.zeros(num, np.float32)
    blocks = (near.row[at : at + _ROWS] for at in range(0, num, _ROWS))
    classes = int(predicted.max()) + 1
    purity = np.concatenate([_entropy(predicted[rows], classes) for rows in blocks])
    affinity = np.maximum(1 - near.distance.astype(np.float64), 0).mean(1)
    return (purity * affinity).astype(np.float32)


def _entropy(predicted: np.ndarray, classes: int) -> np.ndarray:
    """float64[n], of the shares of the classes in each row of int[n, q], in nats."""
    num, count = predicted.shape
    votes = np.zeros((num, classes))
    for column in predicted.T:
        votes[np.arange(num), column] += 1
    share = votes / count
    return -np.sum(share * np.log(np.where(share > 0, share, 1)), 1)


def apart(
    order: np.ndarray, near: np.ndarray, taken: np.ndarray, budget: int
) -> np.ndarray:
    """int32[budget], the first rows that are not near one chosen before, then others.

    Args:
      order: int32[n], rows that may be picked, the best first.
      near: int32[N, q], neighbors of all rows.
      taken: bool[N], rows that were chosen before.
      budget: at most n.
    """
    passed = np.zeros(len(near), bool)
    passed[near[taken]] = True
    picked: list[int] = []
    for row in order.tolist():
        if len(picked) == budget:
            break
        if not passed[row]:
            picked.append(row)
            passed[near[row]] = True
    others = order[~np.isin(order, picked)]
    return np.append(np.array(picked, np.int32), others[: budget - len(picked)])
