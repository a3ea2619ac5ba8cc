"""Greedy k-center (equation 2 of S_AcT; core-set of Sener & Savarese, ICLR 2018).

Each pick is argmax_i min_j |x_i - x_j|, with i over the free rows and j over the rows
labelled or picked so far. `geometry.k_center` computes it.
"""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np

from dact_jax import errors, kinds, ops
from dact_jax.geometry import k_center
from dact_jax.types import Acquire, Array, Evidence, Key, Picked

Features = Literal["embedding", "normalized", "head"]

SCORE = (
    "the distance to the nearest image that was labeled or picked before: the farthest "
    "is first"
)
NEEDS_LOGITS = False
# Outputs that it reads besides the classifier's, by option and value.
NEEDS_IF = {("features", "head"): ("classifier.features",)}


OPTIONS = {
    "features": kinds.Option(
        kinds.choice(*get_args(Features)), "the points whose distances count"
    )
}


def make(*, features: Features = "embedding") -> Acquire:
    """Greedy k-center with the taken rows as first centers.

    Args:
      features: "embedding" (the encoder's output; the paper's choice), "normalized"
        (the embedding divided by its norm, as MME's cosine classifier sees it) or
        "head" (the input of the classifier's last layer: the output
        "classifier.features").
    """

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        del key
        return k_center.select(_points(evidence, features), budget, labelled=taken)

    return acquire


def _points(evidence: Evidence, features: Features) -> Array:
    """float32[N, F]."""
    if features == "embedding":
        return evidence.embedding
    if features == "normalized":
        return ops.normalize(jnp.asarray(evidence.embedding))
    if "classifier.features" not in evidence.outputs:
        raise errors.InputError(
            "acquisitions.k_center.features='head' needs the output "
            "'classifier.features' (the input of the classifier's last layer), which "
            "the evidence does not have."
        )
    return evidence.outputs["classifier.features"]
