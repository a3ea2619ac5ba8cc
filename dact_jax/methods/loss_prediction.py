"""Loss prediction (Yoo & Kweon, CVPR 2019): a classifier that also predicts its loss.

The networks P_t and P_l of D_AcT (equations 4 to 6): a plain classifier and a loss
predictor on one encoder. The predictor learns the order of the losses, not their size.
"""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from dact_jax import errors, keys
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import (
    UNLABELED,
    Array,
    Batch,
    Key,
    Method,
    Metrics,
    Model,
    Variables,
)

PROVIDES = ("predicted_loss",)  # float32 of each sample, for acquisitions
TRAINS_TARGET_NORM = False  # unlabelled target images pass no network in training


def brier(logits: jax.Array, label: Array) -> jax.Array:
    """sum_c (softmax_c - onehot_c)^2 of each row (equation 4 of D_AcT).

    The paper sums squared differences of predicted and true labels over the labelled
    set. Of class numbers these would mean nothing and have no gradient.

    Args:
      logits: float32[..., K].
      label: int32[...]; 0 where UNLABELED.

    Returns:
      float32[...], in [0, 2].
    """
    label = jnp.asarray(label)
    onehot = jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype)
    squared = jnp.sum((jax.nn.softmax(logits) - onehot) ** 2, axis=-1)
    return jnp.where(label != UNLABELED, squared, 0.0)


def cross_entropy(logits: jax.Array, label: Array) -> jax.Array:
    """-log softmax of each row's label (Yoo & Kweon).

    Args:
      logits: float32[..., K].
      label: int32[...]; 0 where UNLABELED.

    Returns:
      float32[...].
    """
    label = jnp.asarray(label)
    # A row of zeros where UNLABELED: no class counts.
    onehot = jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype)
    return -jnp.sum(onehot * jax.nn.log_softmax(logits), axis=-1)


TARGET_LOSSES: Mapping[str, Callable[[jax.Array, Array], jax.Array]] = {
    "brier": brier,
    "cross_entropy": cross_entropy,
}


def make(
    num_classes: int,
    *,
    target_loss: str = "brier",
    weight: float = 1.0,
    margin: float = 1.0,
    width: int = 128,
    detach_after: float = 0.6,
) -> Method:
    """One gradient step on the mean target loss + weight x ranking loss (equation 5).

    On the labels of source and target together, as `source_only`.

    Args:
      num_classes: K.
      target_loss: what classifier and encoder minimise, and the predictor predicts:
        "brier" (D_AcT) or "cross_entropy" (Yoo & Kweon).
      weight: lambda, of the ranking loss.
      margin: epsilon of equation 6, which the paper does not give (Yoo & Kweon: 1); of
        training, as that of acquisition "predicted_loss" is of ranking.
      width: of the predictor's layers.
      detach_after: the progress after which the predictor's gradient stops at the
        encoder (Yoo & Kweon: epoch 120 of 200); 1: never.

    Raises:
      InputError: an option is out of its range, or an unknown target loss.
    """
    check(
        target_loss=target_loss,
        weight=weight,
        margin=margin,
        width=width,
        detach_after=detach_after,
    )
    per_sample = TARGET_LOSSES[target_loss]

    def predict_loss(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        features, labels, variables = _forward.labelled(model, variables, batch, key)
        logits = _forward.classify(model, variables, features, key)  # [S, B, K]
        # Reversed by minus the gate: the gradient times 1, then times 0.
        gate = jnp.where(progress > detach_after, 0.0, 1.0)
        predicted = model.head(
            variables,
            "predicted_loss",
            features,
            reverse=None if detach_after == 1 else -gate,
            key=keys.key(key, "predicted_loss"),
        )  # [S, B]
        actual, labelled = per_sample(logits, labels), labels != UNLABELED
        count = jnp.sum(labelled).astype(actual.dtype)
        target = jnp.sum(actual) / jnp.maximum(count, 1)
        ranking = ranking_loss(predicted, actual, margin=margin, labelled=labelled)
        metrics = {"target_loss": target, "ranking_loss": ranking}
        return target + weight * ranking, (variables, metrics)

    modules = {
        "classifier": heads.Linear(num_classes),
        "predicted_loss": heads.PredictedLoss(width),
    }
    return Method(modules, (predict_loss,), actual_loss=per_sample)


def ranking_loss(
    predicted: jax.Array,
    actual: jax.Array,
    *,
    margin: float,
    labelled: Array | None = None,
) -> jax.Array:
    """The mean of `pair_losses` over the pairs of a batch; float32[] (equation 6).

    Of v labelled rows the i-th is paired with the (v - 1 - i)-th, for i < v // 2; the
    one in the middle of an odd number is left out. So a full even batch is paired with
    its own reverse, as in the code that follows Yoo & Kweon.

    Args:
      predicted: float32[...].
      actual: float32[...]; no gradient flows into it.
      margin: epsilon.
      labelled: bool[...], rows that count; None: all.

    Returns:
      0 where there is no pair.
    """
    predicted, actual = predicted.reshape(-1), jax.lax.stop_gradient(actual.reshape(-1))
    if labelled is None:
        labelled = jnp.ones(predicted.shape, bool)
    labelled = jnp.asarray(labelled).reshape(-1)
    order = jnp.argsort(~labelled, stable=True)  # labelled rows first
    count = jnp.sum(labelled)
    place = jnp.arange(predicted.size // 2)
    one, other = order[place], order[jnp.maximum(count - 1 - place, 0)]
    each = pair_losses(
        (predicted[one], predicted[other]), (actual[one], actual[other]), margin=margin
    )
    pairs = count // 2
    total = jnp.sum(jnp.where(place < pairs, each, 0.0))
    return total / jnp.maximum(pairs, 1).astype(total.dtype)


def pair_losses(
    predicted: tuple[jax.Array, jax.Array],
    actual: tuple[jax.Array, jax.Array],
    *,
    margin: float,
) -> jax.Array:
    """max(0, -I (lhat_i - lhat_j) + epsilon), I = 1 if l_i > l_j, else -1 (equation 6).

    Args:
      predicted: lhat_i and lhat_j, float32[P] each.
      actual: l_i and l_j, float32[P] each.
      margin: epsilon.

    Returns:
      float32[P].
    """
    difference = predicted[0] - predicted[1]
    signed = jnp.where(actual[0] > actual[1], -difference, difference) + margin
    # Not jnp.maximum, whose gradient at 0 is a half: torch's clamp has all of it.
    return jnp.where(signed < 0, 0.0, signed)


def check(
    *, target_loss: str, weight: float, margin: float, width: int, detach_after: float
) -> None:
    """Raises InputError if an option is unknown or out of its range."""
    prefix = "methods.loss_prediction"
    errors.check_choice(f"{prefix}.target_loss", target_loss, tuple(TARGET_LOSSES))
    for name, value in (("weight", weight), ("margin", margin)):
        if not (value >= 0 and math.isfinite(value)):
            raise errors.InputError(
                f"{prefix}.{name}={value} must be 0 or more, and finite."
            )
    if width < 1:
        raise errors.InputError(f"{prefix}.width={width} must be 1 or more.")
    if not 0 <= detach_after <= 1:
        raise errors.InputError(
            f"{prefix}.detach_after={detach_after} must be in [0, 1]."
        )
