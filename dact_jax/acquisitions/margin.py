"""Smallest margin first (Scheffer et al., IDA 2001).

The score is p1 - p2, the difference of the two highest class probabilities.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors
from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Evidence, Key, Picked

SCORE = (
    "by how much the likeliest class is more probable than the second: the smallest "
    "is first"
)
MIN_CLASSES = 2  # a margin lies between two


def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
    """The rows of smallest margin; ties go to the lowest row.

    Args:
      evidence: its output "classifier" holds logits, float32[N, K] with K >= 2.
      taken: bool[N], rows that must not be picked.

    Raises:
      InputError: fewer than `budget` rows are free, or the logits are missing, have
        another shape, or are not all finite.
    """
    del key
    logits = _ranking.class_logits(evidence, taken.size)
    if logits.shape[1] < MIN_CLASSES:
        raise errors.InputError(
            f"acquisition 'margin' needs at least {MIN_CLASSES} classes."
        )
    margin = np.asarray(_margin(logits))
    row = _ranking.highest(-margin, taken, budget)
    return Picked(row, margin[row])


def make() -> Acquire:
    """The acquisition; it has no options."""
    return acquire


@jax.jit
def _margin(logits: jax.Array) -> jax.Array:
    best, _ = jax.lax.top_k(logits, 2)
    # p1 (1 - p2 / p1) from the logits: p1 - p2 would cancel where they nearly tie.
    return -jnp.max(jax.nn.softmax(logits), -1) * jnp.expm1(best[:, 1] - best[:, 0])
