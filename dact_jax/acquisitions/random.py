"""Uniform sampling: the random twin of every active method (S_RT, RADA, ...)."""

import jax
import numpy as np

from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Evidence, Key, Picked

BLIND = True  # it looks at no evidence


def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
    """Uniformly drawn rows without replacement; the score is 0.

    Args:
      evidence: not looked at.
      taken: bool[N], rows not to be picked.
      budget: how many to pick.
      key: decides the draw.

    Raises:
      InputError: fewer than `budget` rows are left.
    """
    del evidence
    _ranking.free_rows(taken, budget)
    order = np.asarray(jax.random.permutation(key, taken.size))
    row = order[~taken[order]][:budget].astype(np.int32)
    return Picked(row, np.zeros(budget, np.float32))


def make() -> Acquire:
    """The acquisition; it has no options."""
    return acquire
