"""How far an exported model is from ours, on the same images."""

from typing import NamedTuple

import jax
import numpy as np

from dact_jax import errors
from dact_jax.classifier import Classifier
from dact_jax.exporting.samples import Samples

LIMIT = 1e-3  # a model whose logits differ by more is not written


class Difference(NamedTuple):
    logits: float  # the largest difference
    probabilities: float
    agreeing: int  # images whose largest logit is that of the same class
    images: int


def ours(classifier: Classifier, stored: np.ndarray) -> np.ndarray:
    """Our logits of images as `Samples` stores them, float32[n, K]."""
    # Accelerators multiply with fewer digits by default than other programs do.
    with jax.default_matmul_precision("highest"):
        found = classifier.sweep(classifier.prepare(stored))
    return np.asarray(found.outputs["classifier"])


def difference(ours: np.ndarray, theirs: np.ndarray) -> Difference:
    """How two arrays of logits, float32[n, K], differ.

    Raises:
      InputError: they have other shapes.
    """
    if ours.shape != theirs.shape:
        raise errors.InputError(
            f"the exported model gives {list(theirs.shape)} numbers, not "
            f"{list(ours.shape)}: it was not written."
        )
    p, q = (np.asarray(jax.nn.softmax(np.asarray(x))) for x in (ours, theirs))
    return Difference(
        float(np.abs(ours - theirs).max()),
        float(np.abs(p - q).max()),
        int((ours.argmax(-1) == theirs.argmax(-1)).sum()),
        len(ours),
    )


def check(found: Difference, by: str, samples: Samples) -> str:
    """A sentence about a difference that is small.

    Args:
      by: what computed the exported model, such as "torch 2.13".

    Raises:
      InputError: it is larger than LIMIT, or is no number.
    """
    numbers = (
        f"logits {found.logits:.2g}, probabilities {found.probabilities:.2g}; "
        f"{found.agreeing} of {found.images} get the same class"
    )
    if not found.logits <= LIMIT:  # NaN too
        raise errors.InputError(
            f"the exported model differs from ours by more than {LIMIT:g} ({numbers}; "
            f"computed by {by}), so it was not written: please report this."
        )
    return (
        f"Largest difference from ours, computed by {by} on {found.images} images "
        f"{samples.about}: {numbers}."
    )
