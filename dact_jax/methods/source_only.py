"""No adaptation: cross entropy on all labels (S+T in the MME paper)."""

import jax

from dact_jax import ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import Batch, Key, Method, Metrics, Model, Variables

TRAINS_TARGET_NORM = False  # training encodes no unlabelled target image


def supervised(
    model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
) -> tuple[jax.Array, tuple[Variables, Metrics]]:
    """Mean cross entropy over the labelled rows of source and target together.

    Both are encoded in one forward pass, as in MME's reference code. Padding rows
    (label UNLABELED) do not count, so a labelled pool smaller than the batch has the
    same weight as the smaller batch that the reference code draws.
    """
    del progress
    features, labels, variables = _forward.encode_labelled(model, variables, batch, key)
    logits = _forward.classify(model, variables, features, key)  # [S, B, K]
    loss = ops.cross_entropy(logits, labels)
    return loss, (variables, {"cross_entropy": loss})


def make(num_classes: int) -> Method:
    """Cross entropy on the labels of both domains, with a linear classifier."""
    return Method({"classifier": heads.Linear(num_classes)}, (supervised,))
