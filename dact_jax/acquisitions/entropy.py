"""Highest predictive entropy first (Wang & Shang, IJCNN 2014).

The score is H(x) = -sum_k p_k log p_k in nats.
"""

import numpy as np

from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Evidence, Key, Picked

SCORE = "the entropy of the prediction, in nats: the most uncertain image is first"


def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
    """The rows of highest entropy; ties go to the lowest row.

    Args:
      evidence: its output "classifier" holds logits, float32[N, K].
      taken: bool[N], rows that must not be picked.

    Raises:
      InputError: fewer than `budget` rows are free, or the logits are missing, have
        another shape, or are not all finite.
    """
    del key
    entropy = np.asarray(_ranking.entropy(_ranking.class_logits(evidence, taken.size)))
    row = _ranking.highest(entropy, taken, budget)
    return Picked(row, entropy[row])


def make() -> Acquire:
    """The acquisition; it has no options."""
    return acquire
