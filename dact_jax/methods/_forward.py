"""Forward passes of the streams of a batch, and what methods do with them alike."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from dact_jax import errors, keys, ops
from dact_jax.types import SOURCE, TARGET, Batch, Features, Key, Model, Variables

Name = Literal["source", "unlabeled", "target"]


class Passes(NamedTuple):
    """Features of each stream; S = 1 in all."""

    source: Features
    unlabeled: Features
    target: Features | None  # the labelled target images, if there are any


def stream(
    model: Model, variables: Variables, batch: Batch, name: Name, key: Key
) -> tuple[Features, Variables]:
    """One stream of the batch through the encoder, in training mode.

    Args:
      model: the network.
      variables: its variables.
      batch: of one iteration; holds that stream.
      name: of the stream.
      key: of the loss; dropout's key is derived from it.

    Returns:
      Features with S = 1, and the variables with new running moments.
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


def labelled(
    model: Model, variables: Variables, batch: Batch, key: Key
) -> tuple[Features, jax.Array, Variables]:
    """Source and labelled target in one pass, in training mode (MME's reference code).

    Args:
      model: the network.
      variables: its variables.
      batch: of one iteration.
      key: of the loss; dropout's key is derived from it.

    Returns:
      Features of S = 1 or, with labelled target images, 2 streams; their labels
      int32[S, B], UNLABELED in rows of padding; and the variables with new moments.
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


def streams(
    model: Model, variables: Variables, batch: Batch, key: Key, *, joint: bool = False
) -> tuple[Passes, Variables]:
    """Source, unlabelled and labelled target through the encoder, in that order.

    Each stream is a forward pass of its own, so its batch-norm moments are its own too
    (ALDA's reference code).

    Args:
      model: the network.
      variables: its variables.
      batch: of one iteration.
      key: of the loss; dropout's keys are derived from it.
      joint: source and unlabelled target are one pass, which with one norm row share
        their moments (the Transfer-Learning-Library); their batches must be of one
        size.

    Raises:
      InputError: joint, and the sizes differ.
    """
    if joint:
        check_equal_batches(batch)
        both, variables = model.encode(
            variables,
            jnp.stack([batch.source.image, batch.unlabeled]),  # [2, B, h, w, C]
            (SOURCE, TARGET),
            train=True,
            key=keys.key(key, "encoder/both"),
        )
        source, unlabeled = (
            jax.tree.map(lambda x, row=row: x[row : row + 1], both) for row in (0, 1)
        )
    else:
        source, variables = stream(model, variables, batch, "source", key)
        unlabeled, variables = stream(model, variables, batch, "unlabeled", key)
    target = None
    if batch.target is not None:
        target, variables = stream(model, variables, batch, "target", key)
    return Passes(source, unlabeled, target), variables


def check_equal_batches(batch: Batch) -> None:
    """Refuses source and unlabelled batches of two sizes.

    Raises:
      InputError: names both fields.
    """
    sizes = len(batch.source.label), len(batch.unlabeled)
    if sizes[0] != sizes[1]:
        raise errors.InputError(
            f"train.batch_source={sizes[0]} and train.batch_unlabeled={sizes[1]} must "
            "be equal: this method compares the two batches as one."
        )


def classify(
    model: Model, variables: Variables, features: Features, key: Key
) -> jax.Array:
    """Logits of the classifier in training mode, float32[S, B, K]."""
    drop = keys.key(key, "classifier")
    return model.head(variables, "classifier", features, key=drop)


def supervised_loss(
    model: Model, variables: Variables, passes: Passes, batch: Batch, key: Key
) -> jax.Array:
    """Mean cross entropy over the labelled rows of source and target together."""
    logits = [classify(model, variables, passes.source, key)]
    labels = [batch.source.label]
    if batch.target is not None and passes.target is not None:
        logits.append(classify(model, variables, passes.target, key))
        labels.append(batch.target.label)
    return ops.cross_entropy(
        jnp.concatenate([each[0] for each in logits]), jnp.concatenate(labels)
    )


def reversed_entropy(
    model: Model, variables: Variables, batch: Batch, key: Key
) -> tuple[jax.Array, Variables]:
    """The entropy of predictions on unlabelled target, of two minds.

    Descending minus it, the classifier raises the entropy, and what is before the
    head's gradient reversal lowers it (MME, equation 4).
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
