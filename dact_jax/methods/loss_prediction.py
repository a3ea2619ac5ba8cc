"""Loss prediction (Yoo & Kweon, CVPR 2019): a classifier that also predicts its loss.

These are the networks P_t and P_l of D_AcT (equations 4 to 6): a plain classifier and
a head that predicts its loss, on one encoder. The head learns the order of the losses,
not their size.
"""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from dact_jax import keys, kinds
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
TRAINS_TARGET_NORM = False  # training encodes no unlabelled target image

TargetLoss = Literal["brier", "cross_entropy"]


def brier(logits: jax.Array, label: Array) -> jax.Array:
    """sum_c (softmax_c - onehot_c)^2 of each row (equation 4 of D_AcT).

    The paper sums squared differences of predicted and true labels over the labelled
    set. Taken literally, as differences of class numbers, they would have no meaning
    and no gradient.

    Args:
      logits: float32[..., K].
      label: int32[...].

    Returns:
      float32[...], in [0, 2]; 0 in UNLABELED rows.
    """
    label = jnp.asarray(label)
    onehot = jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype)
    squared = jnp.sum((jax.nn.softmax(logits) - onehot) ** 2, axis=-1)
    return jnp.where(label != UNLABELED, squared, 0.0)


def cross_entropy(logits: jax.Array, label: Array) -> jax.Array:
    """-log softmax of each row's label (Yoo & Kweon).

    Args:
      logits: float32[..., K].
      label: int32[...].

    Returns:
      float32[...]; 0 in UNLABELED rows.
    """
    label = jnp.asarray(label)
    # The one-hot vector of UNLABELED is all zeros.
    onehot = jax.nn.one_hot(label, logits.shape[-1], dtype=logits.dtype)
    return -jnp.sum(onehot * jax.nn.log_softmax(logits), axis=-1)


TARGET_LOSSES: Mapping[TargetLoss, Callable[[jax.Array, Array], jax.Array]] = {
    "brier": brier,
    "cross_entropy": cross_entropy,
}


OPTIONS = {
    "target_loss": kinds.Option(
        kinds.choice(*get_args(TargetLoss)), "what it predicts"
    ),
    "weight": kinds.Option(kinds.real(), "weight of the ranking loss"),
    "margin": kinds.Option(kinds.real(), "epsilon, of the ranking loss"),
    "width": kinds.Option(kinds.width(), "units of each layer of the predictor"),
    "detach_after": kinds.Option(
        kinds.real(0, 1), "share of the iterations after which the encoder is spared"
    ),
}


def make(
    num_classes: int,
    *,
    target_loss: TargetLoss = "brier",
    weight: float = 1.0,
    margin: float = 1.0,
    width: int = 128,
    detach_after: float = 0.6,
) -> Method:
    """One gradient step on the mean target loss + weight x ranking loss (equation 5).

    Both terms are over the labels of source and target together, as in `source_only`.

    Args:
      target_loss: the loss that classifier and encoder minimise and that the head
        predicts: "brier" (D_AcT) or "cross_entropy" (Yoo & Kweon).
      weight: lambda, the weight of the ranking loss.
      margin: epsilon of equation 6, for which the paper gives no value (Yoo & Kweon:
        1). It is used in training only; acquisition "predicted_loss" has its own
        margin for ranking.
      width: of the prediction head's layers.
      detach_after: the progress after which the prediction head's gradient stops at
        the encoder (Yoo & Kweon: epoch 120 of 200); 1: never.
    """
    per_sample = TARGET_LOSSES[target_loss]

    def predict_loss(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        features, labels, variables = _forward.encode_labelled(
            model, variables, batch, key
        )
        logits = _forward.classify(model, variables, features, key)  # [S, B, K]
        # Reversal by -gate multiplies the gradient by gate: by 1, later by 0.
        gate = jnp.where(progress > detach_after, 0.0, 1.0)
        predicted = model.head(
            variables,
            "predicted_loss",
            features,
            reverse=None if detach_after == 1 else -gate,
            key=keys.key(key, "predicted_loss"),
        )  # [S, B]
        actual, labelled = per_sample(logits, labels), labels != UNLABELED  # [S, B]
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
    """The mean of `pair_losses` over the pairs of a batch (equation 6).

    Of v labelled rows, row i is paired with row v - 1 - i for i < v // 2; the middle
    row of an odd number has no partner and does not count. A full even batch is thus
    paired with its reverse, as in the public code for Yoo & Kweon.

    Args:
      predicted: float32[...].
      actual: float32[...]; gets no gradient.
      margin: epsilon.
      labelled: bool[...], rows that count; None: all.

    Returns:
      float32[]; 0 if there is no pair.
    """
    predicted, actual = predicted.reshape(-1), jax.lax.stop_gradient(actual.reshape(-1))
    if labelled is None:
        labelled = jnp.ones(predicted.shape, bool)
    labelled = jnp.asarray(labelled).reshape(-1)
    order = jnp.argsort(~labelled, stable=True)  # labelled rows first
    count = jnp.sum(labelled)
    index = jnp.arange(predicted.size // 2)
    i, j = order[index], order[jnp.maximum(count - 1 - index, 0)]
    losses = pair_losses(
        (predicted[i], predicted[j]), (actual[i], actual[j]), margin=margin
    )
    num_pairs = count // 2
    total = jnp.sum(jnp.where(index < num_pairs, losses, 0.0))
    return total / jnp.maximum(num_pairs, 1).astype(total.dtype)


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
    # Not jnp.maximum: its gradient at 0 is 1/2, that of torch's clamp is 1.
    return jnp.where(signed < 0, 0.0, signed)
