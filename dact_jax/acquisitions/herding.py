"""Herding (MaxHerding: Bae et al., ECCV 2024): rows to which most others are similar.

Each pick a maximizes sum_i max(0, k(x_i, x_a) - c_i) over the free rows, where
k(x, y) = exp(-|x - y|^2 / sigma^2), i runs over all rows, and c_i is the largest
k(x_i, x_l) over the rows l labelled or picked so far, or 0. It needs no classifier.
`geometry.coverage.herding` computes it.
"""

import numpy as np

from dact_jax import kinds
from dact_jax.acquisitions import _coverage, _ranking
from dact_jax.acquisitions._coverage import Features
from dact_jax.geometry.coverage import herding
from dact_jax.types import Acquire, Evidence, Key, Picked

NEEDS_LOGITS = False
READS_IF = _coverage.READS_IF
SCORE = (
    "how much similarity to the nearest labeled or picked image the pool gains: the "
    "largest is first"
)

OPTIONS = {
    "features": _coverage.FEATURES,
    "normalize": _coverage.NORMALIZE,
    "sigma": kinds.Option(
        kinds.real(), "bandwidth; 0: the median distance of pairs of points"
    ),
    "max_rows": _coverage.MAX_ROWS,
}


def make(
    *,
    features: Features = "embedding",
    normalize: bool = False,
    sigma: float = 0.0,
    max_rows: int = _coverage.MOST,
) -> Acquire:
    """Herding with the taken rows as covered from the start.

    Args:
      features: "embedding" or "input", the representation that training does not
        change.
      normalize: whether each point is divided by its length.
      sigma: bandwidth; 0: the median distance of pairs among 1024 equally spaced rows.
      max_rows: of a larger pool, so many free rows are drawn, and the others neither
        count nor are picked.
    """

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        del key
        _ranking.free_rows(taken, budget)
        points = _ranking.points(
            evidence, taken.size, features=features, normalize=normalize
        )
        return herding.select(
            points, budget, labelled=taken, scale=sigma or None, max_rows=max_rows
        )

    return acquire
