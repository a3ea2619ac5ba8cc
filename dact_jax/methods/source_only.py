"""No adaptation: cross entropy on every label there is (S+T in the MME paper)."""

import jax

from dact_jax import ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import Batch, Key, Method, Metrics, Model, Variables

TRAINS_TARGET_NORM = False  # unlabelled target images pass no network in training


def supervised(
    model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
) -> tuple[jax.Array, tuple[Variables, Metrics]]:
    """Mean cross entropy over the labelled rows of source and target together.

    One forward pass over both, as the reference code of MME does it. Padding rows
    (label UNLABELED) do not count, so a labelled pool smaller than the batch weighs
    as much as the reference's smaller batch.
    """
    del progress
    features, labels, variables = _forward.labelled(model, variables, batch, key)
    logits = _forward.classify(model, variables, features, key)  # [S, B, K]
    loss = ops.cross_entropy(logits, labels)
    return loss, (variables, {"cross_entropy": loss})


def make(num_classes: int) -> Method:
    """Cross entropy with a linear classifier.

    Args:
      num_classes: K.
    """
    return Method({"classifier": heads.Linear(num_classes)}, (supervised,))
