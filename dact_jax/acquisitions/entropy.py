"""Highest predictive entropy first (Wang & Shang, IJCNN 2014)."""

import numpy as np

from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Evidence, Key, Picked


def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
    """The rows of highest entropy, -sum_k p_k log p_k in nats, which is the score.

    Ties go to the lowest row.

    Args:
      evidence: its output "classifier" is read, float32[N, K] logits.
      taken: bool[N], rows not to be picked.
      budget: how many to pick.
      key: not used.

    Raises:
      InputError: fewer than `budget` rows are left, or the logits are not finite.
    """
    del key
    logits = _ranking.matrix(
        evidence.outputs.get("classifier"), "classifier", taken.size
    )
    entropy = np.asarray(_ranking.entropy(logits))
    row = _ranking.highest(entropy, taken, budget)
    return Picked(row, entropy[row])


def make() -> Acquire:
    """The acquisition; it has no options."""
    return acquire
