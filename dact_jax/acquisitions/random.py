"""Uniform sampling without replacement: the baseline of each active method.

With it, S_AcT becomes S_RT, D_AcT becomes R_AcT, AADA becomes RADA and CLUE RDA_CLUE.
"""

import jax
import numpy as np

from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Evidence, Key, Picked

BLIND = True  # it reads no evidence


def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
    """Rows drawn uniformly without replacement; every score is 0.

    Args:
      taken: bool[N], rows that must not be picked.

    Raises:
      InputError: fewer than `budget` rows are free.
    """
    del evidence
    _ranking.free_rows(taken, budget)
    order = np.asarray(jax.random.permutation(key, taken.size))
    row = order[~taken[order]][:budget].astype(np.int32)
    return Picked(row, np.zeros(budget, np.float32))


def make() -> Acquire:
    """The acquisition; it has no options."""
    return acquire
