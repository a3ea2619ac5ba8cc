"""Greedy k-center on the evidence of a pool: the core-set selection of the papers."""

import jax.numpy as jnp
import numpy as np

from dact_jax import errors, ops
from dact_jax.geometry import k_center
from dact_jax.types import Acquire, Array, Evidence, Key, Picked

# Outputs that it reads besides the classifier's, by option and value.
NEEDS_IF = {("features", "head"): ("classifier.features",)}


def make(*, features: str = "embedding") -> Acquire:
    """Greedy k-center on the encoder's embedding, labelled rows as first centres.

    Args:
      features: "embedding" (as the encoder gives it; the paper's), "normalized"
        (divided by its norm, as MME's cosine classifier sees it) or "head" (what the
        last layer of the classifier sees: the output "classifier.features").

    Raises:
      InputError: unknown `features`.
    """
    check(features=features)

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        del key
        return k_center.select(_points(evidence, features), budget, labelled=taken)

    return acquire


def check(*, features: str) -> None:
    """Raises InputError if `features` is unknown."""
    valid = ("embedding", "normalized", "head")
    errors.check_choice("acquisitions.k_center.features", features, valid)


def _points(evidence: Evidence, features: str) -> Array:
    if features != "head":
        found = evidence.embedding
        return ops.normalize(jnp.asarray(found)) if features == "normalized" else found
    if "classifier.features" not in evidence.outputs:
        raise errors.InputError(
            "acquisitions.k_center.features='head' needs the output "
            "'classifier.features', what the classifier's last layer sees, and the "
            "evidence has none."
        )
    return evidence.outputs["classifier.features"]
