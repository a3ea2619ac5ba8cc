"""No adaptation: cross entropy on every label there is (S+T in the MME paper)."""

import jax
import jax.numpy as jnp

from dact_jax import keys, ops
from dact_jax.models import heads
from dact_jax.types import (
    SOURCE,
    TARGET,
    Batch,
    Key,
    Method,
    Metrics,
    Model,
    Variables,
)


def supervised(
    model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
) -> tuple[jax.Array, tuple[Variables, Metrics]]:
    """Mean cross entropy over the labelled rows of source and target together.

    One forward pass over both, as the reference code of MME does it. Padding rows
    (label UNLABELED) do not count, so a labelled pool smaller than the batch weighs
    as much as the reference's smaller batch.
    """
    del progress
    labelled = [batch.source] + ([batch.target] if batch.target is not None else [])
    images = jnp.stack([part.image for part in labelled])  # [S, B, h, w, C]
    labels = jnp.stack([part.label for part in labelled])  # [S, B]
    features, variables = model.encode(
        variables,
        images,
        (SOURCE, TARGET)[: len(labelled)],
        train=True,
        key=keys.key(key, "encoder"),
    )
    logits = model.head(
        variables, "classifier", features, key=keys.key(key, "classifier")
    )  # [S, B, K]
    loss = ops.cross_entropy(logits, labels)
    return loss, (variables, {"cross_entropy": loss})


def make(num_classes: int) -> Method:
    """Cross entropy with a linear classifier.

    Args:
      num_classes: K.
    """
    return Method({"classifier": heads.Linear(num_classes)}, (supervised,))
