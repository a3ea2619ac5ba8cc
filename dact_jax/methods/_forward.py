"""Forward passes over the streams of a batch, and losses that several methods share.

All run in training mode and derive the dropout keys of a pass from the loss's key.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from dact_jax import errors, keys, ops
from dact_jax.types import SOURCE, TARGET, Batch, Features, Key, Model, Variables

Name = Literal["source", "unlabeled", "target"]


class StreamFeatures(NamedTuple):
    """The features of each stream, a forward pass with S = 1 each."""

    source: Features
    unlabeled: Features
    target: Features | None  # of the labelled target images; None without them


def encode_stream(
    model: Model, variables: Variables, batch: Batch, name: Name, key: Key
) -> tuple[Features, Variables]:
    """Encodes one stream of the batch.

    Args:
      name: a stream that the batch has: "target" only with labelled target images.

    Returns:
      Features with S = 1, and the variables with updated running moments.
    """
    if name == "unlabeled":
        images = batch.unlabeled
    else:
        examples = batch.source if name == "source" else batch.target
        assert examples is not None
        images = examples.image
    return model.encode(
        variables,
        images[None],  # [1, B, h, w, C]
        (SOURCE if name == "source" else TARGET,),
        train=True,
        key=keys.key(key, f"encoder/{name}"),
    )


def encode_labelled(
    model: Model, variables: Variables, batch: Batch, key: Key
) -> tuple[Features, jax.Array, Variables]:
    """Encodes source and labelled target in one pass, as MME's reference code does.

    Returns:
      Features with S = 2, or S = 1 without labelled target images; their labels
      int32[S, B], UNLABELED in padding rows; and the variables with updated running
      moments.
    """
    parts = [batch.source] + ([batch.target] if batch.target is not None else [])
    features, variables = model.encode(
        variables,
        jnp.stack([part.image for part in parts]),  # [S, B, h, w, C]
        (SOURCE, TARGET)[: len(parts)],
        train=True,
        key=keys.key(key, "encoder"),
    )
    return features, jnp.stack([part.label for part in parts]), variables


def encode_streams(
    model: Model, variables: Variables, batch: Batch, key: Key, *, joint: bool = False
) -> tuple[StreamFeatures, Variables]:
    """Encodes source, unlabelled target and labelled target, in that order.

    Each stream is a separate forward pass with its own batch-norm moments, as in
    ALDA's reference code.

    Args:
      joint: encode source and unlabelled target in one pass, as the
        Transfer-Learning-Library does. With one norm row the two then share their
        moments. Their batches must have the same size.

    Returns:
      The features, and the variables with updated running moments.

    Raises:
      InputError: joint, and the two batch sizes differ.
    """
    if joint:
        check_equal_batches(batch)
        features, variables = model.encode(
            variables,
            jnp.stack([batch.source.image, batch.unlabeled]),  # [2, B, h, w, C]
            (SOURCE, TARGET),
            train=True,
            key=keys.key(key, "encoder/both"),
        )
        source, unlabeled = (
            jax.tree.map(lambda x, row=row: x[row : row + 1], features)
            for row in (0, 1)
        )
    else:
        source, variables = encode_stream(model, variables, batch, "source", key)
        unlabeled, variables = encode_stream(model, variables, batch, "unlabeled", key)
    target = None
    if batch.target is not None:
        target, variables = encode_stream(model, variables, batch, "target", key)
    return StreamFeatures(source, unlabeled, target), variables


def check_equal_batches(batch: Batch) -> None:
    """Checks that the source and unlabelled batches have the same size.

    Raises:
      InputError: they differ; the message names both config fields.
    """
    num_source, num_unlabeled = len(batch.source.label), len(batch.unlabeled)
    if num_source != num_unlabeled:
        raise errors.InputError(
            f"train.batch_source={num_source} and "
            f"train.batch_unlabeled={num_unlabeled} must be equal for this method."
        )


def classify(
    model: Model, variables: Variables, features: Features, key: Key
) -> jax.Array:
    """Logits of the classifier, float32[S, B, K]."""
    drop = keys.key(key, "classifier")
    return model.head(variables, "classifier", features, key=drop)


def supervised_loss(
    model: Model, variables: Variables, streams: StreamFeatures, batch: Batch, key: Key
) -> jax.Array:
    """Mean cross entropy over the labelled rows of source and target together."""
    logits = [classify(model, variables, streams.source, key)]
    labels = [batch.source.label]
    if batch.target is not None and streams.target is not None:
        logits.append(classify(model, variables, streams.target, key))
        labels.append(batch.target.label)
    return ops.cross_entropy(
        jnp.concatenate([each[0] for each in logits]), jnp.concatenate(labels)
    )


def reversed_entropy(
    model: Model, variables: Variables, batch: Batch, key: Key
) -> tuple[jax.Array, Variables]:
    """Mean entropy H of the predictions on unlabelled target images, float32[].

    The classifier reverses the gradient. A step that descends -H therefore raises the
    entropy in the layers after the reversal and lowers it in those before (MME,
    equation 4).

    Returns:
      The entropy, and the variables with updated running moments.
    """
    features, variables = model.encode(
        variables,
        batch.unlabeled[None],  # [1, B, h, w, C]
        (TARGET,),
        train=True,
        key=keys.key(key, "encoder"),
    )
    logits = model.head(
        variables,
        "classifier",
        features,
        reverse=1.0,
        key=keys.key(key, "classifier"),
    )
    return ops.entropy(logits), variables
