"""ALDA: adversarial-learned loss for domain adaptation (Chen et al., AAAI 2020).

With a norm row for each domain (model.num_norms=2) this is ALDA + DSBN.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from dact_jax import errors, keys, kinds, ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import (
    UNLABELED,
    Array,
    Batch,
    Features,
    Key,
    Method,
    Metrics,
    Model,
    Variables,
)

# No PROVIDES: the discriminator predicts label noise, not domains.
Scale = Literal["code", "paper"]
Mean = Literal["pooled", "sum"]


class Losses(NamedTuple):
    """float32[] each. The names are those of the metrics."""

    adversarial: jax.Array  # L_adv, equations 10 to 12
    regularization: jax.Array  # L_reg, equation 13
    corrected: jax.Array  # L_T, equation 15
    kept: jax.Array  # number of confident target samples


OPTIONS = {
    "threshold": kinds.Option(kinds.real(0, 1), "confidence that pseudo-labels need"),
    "target_loss_scale": kinds.Option(
        kinds.choice(*get_args(Scale)), "of the target loss: as in the code or paper"
    ),
    "adversarial_mean": kinds.Option(
        kinds.choice(*get_args(Mean)), "elements that the adversarial loss averages"
    ),
    "reversal_lead": kinds.Option(kinds.real(0, 1), "progress that reversal is ahead"),
    "schedule_target_loss": kinds.Option(
        kinds.flag(), "whether the weight of the target loss grows as the reversal's"
    ),
    "bottleneck": kinds.Option(kinds.whole(0, 65536), "units of that layer; 0: none"),
    "hidden": kinds.Option(kinds.width(), "units of a layer of the discriminator"),
    "dropout": kinds.Option(kinds.rate(), "rate in the discriminator"),
    "joint": kinds.Option(kinds.flag(), "both domains pass the network as one batch"),
}


def make(
    num_classes: int,
    *,
    threshold: float = 0.9,
    target_loss_scale: Scale = "code",
    adversarial_mean: Mean = "pooled",
    reversal_lead: float = 1e-4,
    schedule_target_loss: bool = True,
    bottleneck: int = 0,
    hidden: int = 1024,
    dropout: float = 0.5,
    joint: bool = False,
) -> Method:
    """One gradient step an iteration, in which

    the discriminator D minimises L_adv + L_reg, the classifier CE(labels) + lambda L_T,
    and the encoder CE(labels) + lambda L_T - lambda L_adv.

    Args:
      num_classes: K, at least 2.
      threshold: delta; a target sample is confident, and counts, if its largest
        probability is above it.
      target_loss_scale: "code" divides L_T by K, as the authors' code does; "paper"
        does not (equation 15).
      adversarial_mean: L_adv is one mean over source and confident target samples
        ("pooled", the authors' code) or the "sum" of the two means (equation 12).
      reversal_lead: added to progress in the lambda of L_adv, because the authors'
        code counts the current one of 10 000 iterations as done.
      schedule_target_loss: whether L_T has the weight lambda; if not, the weight is 1
        (the authors' script for digits).
      bottleneck: width of a linear layer after the encoder; 0: none.
      hidden: width of both hidden layers of D.
      dropout: rate in D.
      joint: encode source and unlabelled target in one forward pass (the authors'
        script for digits).

    Raises:
      InputError: fewer than two classes.
    """
    if num_classes < 2:
        raise errors.InputError(
            f"method 'alda' needs 2 classes or more, not {num_classes}."
        )

    def adversarial_learned(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        streams, variables = _forward.encode_streams(
            model, variables, batch, key, joint=joint
        )
        supervised = _forward.supervised_loss(model, variables, streams, batch, key)
        strength = ops.adaptation(progress + reversal_lead)

        def discriminate(
            name: str, features: Features, reverse: jax.Array | None
        ) -> jax.Array:
            drop = keys.key(key, name)  # the same dropout in both passes of the source
            return model.head(
                variables, "discriminator", features, reverse=reverse, key=drop
            )[0]

        terms = losses(
            discriminate("source", streams.source, strength),
            discriminate("unlabeled", streams.unlabeled, strength),
            # L_reg trains D only, not the encoder.
            discriminate("source", jax.lax.stop_gradient(streams.source), None),
            _forward.classify(model, variables, streams.source, key)[0],
            _forward.classify(model, variables, streams.unlabeled, key)[0],
            batch.source.label,
            threshold=threshold,
            target_loss_scale=target_loss_scale,
            adversarial_mean=adversarial_mean,
        )
        weight = ops.adaptation(progress) if schedule_target_loss else 1.0
        loss = (
            supervised
            + terms.adversarial
            + terms.regularization
            + weight * terms.corrected
        )
        return loss, (variables, {"cross_entropy": supervised, **terms._asdict()})

    modules = {
        **heads.bottleneck(bottleneck),
        "classifier": heads.Linear(num_classes, initial="xavier"),
        "discriminator": heads.Discriminator(
            num_classes, hidden=(hidden, hidden), dropout=dropout
        ),
    }
    return Method(modules, (adversarial_learned,))


def losses(
    source_score: jax.Array,
    target_score: jax.Array,
    constant_source_score: jax.Array,
    source_logits: jax.Array,
    target_logits: jax.Array,
    label: Array,
    *,
    threshold: float = 0.9,
    target_loss_scale: Scale = "code",
    adversarial_mean: Mean = "pooled",
) -> Losses:
    """The three terms, each with the gradients that it is meant to have.

    Args:
      source_score: float32[B_s, K], raw outputs of D.
      target_score: float32[B_t, K].
      constant_source_score: float32[B_s, K], source_score without gradient into the
        features.
      source_logits: float32[B_s, K], of the classifier.
      target_logits: float32[B_t, K].
      label: int32[B_s]; UNLABELED rows do not count.
      threshold: as in `make`, like the options after it.
    """
    num_classes = source_score.shape[-1]
    label = jnp.asarray(label)
    labelled = (label != UNLABELED).astype(jnp.float32)
    truth = jax.nn.one_hot(label, num_classes)
    p = jax.nn.softmax(target_logits)
    confident = (p.max(-1) > threshold).astype(jnp.float32)
    target_guess = jax.nn.one_hot(target_logits.argmax(-1), num_classes)
    noise = (1 - target_guess) / (num_classes - 1)  # u: 0 at the guess

    # L_adv
    source_guess = jax.nn.one_hot(source_logits.argmax(-1), num_classes)
    source = labelled * _binary_cross_entropy(source_score, source_guess, truth)
    target = confident * _binary_cross_entropy(target_score, target_guess, noise)
    num_source, num_target = jnp.sum(labelled), jnp.sum(confident)
    if adversarial_mean == "pooled":
        total = source.sum() + target.sum()
        adversarial = total / jnp.maximum(num_source + num_target, 1)
    else:
        adversarial = _mean(source, num_source) + _mean(target, num_target)

    # L_T
    corrected = jnp.exp(_log_corrected(target_score, target_guess)[0])
    agreement = jnp.sum(p * jax.lax.stop_gradient(corrected), -1)  # [B_t]
    if target_loss_scale == "code":
        unhinged = -agreement / num_classes
    else:
        unhinged = 1 - agreement  # sum_k c_k (1 - p_k), because sum_k c_k = 1
    return Losses(
        adversarial=adversarial,
        regularization=ops.cross_entropy(constant_source_score, label),
        corrected=_mean(confident * unhinged, num_target),
        kept=num_target,
    )


def _log_corrected(score: jax.Array, guess: jax.Array) -> tuple[jax.Array, jax.Array]:
    """log c and log(1 - c) of the corrected label c, float32[B, K] each.

    c is xi = sigmoid(D) at the guess and (1 - xi) / (K - 1) elsewhere, so that only
    the guess's output of D gets a gradient.
    """
    num_classes = score.shape[-1]
    score_at_guess = jnp.sum(score * guess, -1, keepdims=True)  # [B, 1]
    log_xi = jax.nn.log_sigmoid(score_at_guess)
    log_not_xi = jax.nn.log_sigmoid(-score_at_guess)
    log_others = jnp.log(float(num_classes - 1))
    if num_classes == 2:
        log_not_share = log_xi
    else:  # 1 - c = (K - 2 + xi) / (K - 1)
        log_sum = jnp.logaddexp(jnp.log(float(num_classes - 2)), log_xi)
        log_not_share = log_sum - log_others
    at_guess = guess > 0
    return (
        jnp.where(at_guess, log_xi, log_not_xi - log_others),
        jnp.where(at_guess, log_not_xi, log_not_share),
    )


def _binary_cross_entropy(
    score: jax.Array, guess: jax.Array, label: jax.Array
) -> jax.Array:
    """sum_k BCE(c_k, label_k), float32[B]; logarithms stop at -100 as in torch."""
    log_c, log_not_c = (jnp.maximum(x, -100.0) for x in _log_corrected(score, guess))
    return -jnp.sum(label * log_c + (1 - label) * log_not_c, -1)


def _mean(values: jax.Array, count: jax.Array) -> jax.Array:
    """sum(values) / count; 0, with gradient 0, if the count is 0."""
    return values.sum() / jnp.maximum(count, 1)
