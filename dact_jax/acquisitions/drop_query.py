"""DropQuery (Gupte et al., 2024): diverse rows whose prediction dropout changes.

The classifier predicts a class from the whole embedding, and from the embedding with
3/4 of its numbers left out in each of 3 passes (`training.dropout_passes`). Candidates
are the free rows that more than half of the passes assign to another class. K-means
makes as many clusters of them as labels are bought, and the candidate nearest to each
centroid is picked.

Where there are fewer candidates than labels to buy, which the paper leaves open, all
are picked, and after them the other rows of highest predictive entropy.
"""

from typing import Literal, get_args

import numpy as np

from dact_jax import errors, kinds
from dact_jax.acquisitions import _clusters, _coverage, _ranking
from dact_jax.acquisitions._coverage import Features
from dact_jax.types import Acquire, Evidence, Key, Picked

Passes = Literal["most", "any"]

NEEDS = ("classifier.dropout",)
READS_IF = _coverage.READS_IF

OPTIONS = {
    "passes": kinds.Option(
        kinds.choice(*get_args(Passes)), "how many must predict another class"
    ),
    "features": _coverage.FEATURES,
    "restarts": kinds.Option(kinds.whole(1, 10_000), "runs of k-means; the best wins"),
}


def make(
    *, passes: Passes = "most", features: Features = "embedding", restarts: int = 10
) -> Acquire:
    """One of each cluster of the rows that dropout moves to another class.

    Picks come in the order of the centroids, followed by those that fill up; the score
    is the share of passes that predict another class.

    Args:
      passes: "most", more than half as in the paper, or "any", at least one.
      features: "embedding" or "input", what training does not change. Where vectors are
        embedded by a frozen network, as in the paper, the input is what it clusters.
      restarts: of k-means.
    """

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        free = _ranking.free_rows(taken, budget)
        logits = _ranking.class_logits(evidence, taken.size)
        share = changed(np.asarray(logits), _dropped(evidence, logits.shape))
        points = _ranking.points(
            evidence, taken.size, features=features, normalize=False
        )
        is_candidate = share > (0.5 if passes == "most" else 0)
        rows = free[is_candidate[free]]
        count = min(budget, len(rows))
        row = _clusters.one_each(points, rows, count, restarts=restarts, key=key)
        entropy = np.asarray(_ranking.entropy(logits))
        rest = _ranking.highest(entropy, taken | is_candidate, budget - count)
        row = np.append(row, rest)
        return Picked(row, share[row])

    return acquire


def changed(logits: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """float32[N], the share of passes that predict another class.

    Args:
      logits: float32[N, K], of the whole embedding.
      dropped: float32[N, passes, K].
    """
    other = dropped.argmax(2) != logits.argmax(1)[:, None]
    return other.mean(1, dtype=np.float32)


def _dropped(evidence: Evidence, shape: tuple[int, ...]) -> np.ndarray:
    """float32[N, passes, K]."""
    values = evidence.outputs.get("classifier.dropout")
    if values is None:
        raise errors.InputError(
            "acquisition 'drop_query' needs the output 'classifier.dropout' (the "
            "classifier's logits under dropout), which the evidence does not have."
        )
    values = np.asarray(values)
    num, classes = shape
    if values.ndim != 3 or values.shape[::2] != shape or not values.shape[1]:
        raise errors.InputError(
            f"'classifier.dropout' must be float[{num}, passes, {classes}]; its shape "
            f"is {values.shape}."
        )
    _ranking.finite_matrix(values.reshape(num, -1), "classifier.dropout", num)
    return values
