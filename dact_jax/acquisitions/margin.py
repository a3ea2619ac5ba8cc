"""Smallest margin between the two best classes first (Scheffer et al., IDA 2001)."""

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors
from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Evidence, Key, Picked


def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
    """The rows of smallest p1 - p2, which is the score; ties go to the lowest row.

    Args:
      evidence: its output "classifier" is read, float32[N, K] logits.
      taken: bool[N], rows not to be picked.
      budget: how many to pick.
      key: not used.

    Raises:
      InputError: fewer than `budget` rows are left, the logits are not finite, or
        there is one class only.
    """
    del key
    logits = _ranking.matrix(
        evidence.outputs.get("classifier"), "classifier", taken.size
    )
    if logits.shape[1] < 2:
        raise errors.InputError("acquisition 'margin' needs at least two classes.")
    margin = np.asarray(_margin(logits))
    row = _ranking.highest(-margin, taken, budget)
    return Picked(row, margin[row])


def make() -> Acquire:
    """The acquisition; it has no options."""
    return acquire


@jax.jit
def _margin(logits: jax.Array) -> jax.Array:
    best, _ = jax.lax.top_k(logits, 2)
    # p1 (1 - p2 / p1), from the logits: small margins keep their digits.
    return -jnp.max(jax.nn.softmax(logits), -1) * jnp.expm1(best[:, 1] - best[:, 0])
