"""Uncertainty herding (UHerding: Bae et al., ICLR 2025): herding of the unsure.

Each pick a maximizes sum_i w_i max(0, k(x_i, x_a) - c_i) as in `herding`, with the
uncertainty w_i = 1 - (p_1 - p_2), where p_1 and p_2 are the two largest probabilities
of row i. A wide bandwidth makes rows be picked that stand for many; with a narrow one,
as the least distance of labelled rows becomes with many labels, w decides.
"""

from typing import Literal, get_args

import numpy as np

from dact_jax import errors, kinds
from dact_jax.acquisitions import _coverage, _ranking
from dact_jax.acquisitions._coverage import Features
from dact_jax.geometry.coverage import bandwidth, herding
from dact_jax.types import Acquire, Array, Evidence, Key, Picked

Weights = Literal["margin", "rank"]
Sigma = Literal["median", "labelled"]

READS_IF = _coverage.READS_IF
SCORE = (
    "how much similarity to the nearest labeled or picked image the unsure images of "
    "the pool gain: the largest is first"
)
MIN_CLASSES = 2  # the second largest probability

OPTIONS = {
    "weights": kinds.Option(
        kinds.choice(*get_args(Weights)),
        "1 - (p1 - p2), or its rank among all rows / N",
    ),
    "sigma": kinds.Option(
        kinds.choice(*get_args(Sigma)),
        "bandwidth: the median distance of pairs, or the least of labelled ones",
    ),
    "features": _coverage.FEATURES,
    "normalize": _coverage.NORMALIZE,
    "max_rows": _coverage.MAX_ROWS,
}


def make(
    *,
    weights: Weights = "margin",
    sigma: Sigma = "median",
    features: Features = "embedding",
    normalize: bool = False,
    max_rows: int = _coverage.MOST,
) -> Acquire:
    """Herding in which unsure rows count more.

    Args:
      weights: "margin", w_i as above, in float64; or "rank", the share of all rows
        that are no more uncertain than row i.
      sigma: "median", of the distances of pairs among 1024 equally spaced rows; or
        "labelled", the smallest distance of two labelled rows that differ, as in the
        paper ("median" while there are no two).
      features: "embedding" or "input", the representation that training does not
        change.
      normalize: whether each point is divided by its length.
      max_rows: of a larger pool, so many free rows are drawn in proportion to their
        weights.
    """

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        del key
        _ranking.free_rows(taken, budget)
        weight = uncertainty(_ranking.class_logits(evidence, taken.size))
        if weights == "rank":
            weight = rank(weight)
        points = _ranking.points(
            evidence, taken.size, features=features, normalize=normalize
        )
        scale = None
        if sigma == "labelled":
            scale = bandwidth.least_distance(np.asarray(points)[taken])
        return herding.select(
            points,
            budget,
            weights=weight,
            labelled=taken,
            scale=scale,
            max_rows=max_rows,
        )

    return acquire


def uncertainty(logits: Array) -> np.ndarray:
    """float64[N], 1 - (p_1 - p_2).

    Args:
      logits: float[N, K].

    Raises:
      InputError: there are fewer than two classes.
    """
    logits = np.asarray(logits, np.float64)
    if logits.shape[1] < MIN_CLASSES:
        raise errors.InputError(
            f"acquisition 'u_herding' needs at least {MIN_CLASSES} classes."
        )
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    two = np.partition(p, -2, axis=1)[:, -2:]
    return 1 - (two[:, 1] - two[:, 0])


def rank(values: np.ndarray) -> np.ndarray:
    """float64[N], the share of values that are not larger."""
    return np.searchsorted(np.sort(values), values, side="right") / len(values)
