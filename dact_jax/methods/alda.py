"""ALDA: adversarial-learned loss for domain adaptation (Chen et al., AAAI 2020).

With a norm row for each domain (model.num_norms=2) this is ALDA + DSBN.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from dact_jax import errors, keys, ops
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

# It PROVIDES nothing: its discriminator predicts label noise, not domains.
Scale = Literal["code", "paper"]
Mean = Literal["pooled", "sum"]


class Losses(NamedTuple):
    """float32[] each."""

    adversarial: jax.Array  # L_adv, equations 10 to 12
    regularization: jax.Array  # L_reg, equation 13
    corrected: jax.Array  # L_T, equation 15
    kept: jax.Array  # confident target samples


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
    """One gradient step an iteration, of three players:

    the discriminator D minimises L_adv + L_reg, the classifier the cross entropy on
    labels + lambda L_T, the encoder that of the classifier - lambda L_adv.

    Args:
      num_classes: K, at least 2.
      threshold: delta; target samples count whose largest probability is above it.
      target_loss_scale: "code" divides L_T by K, as the authors' code does; "paper"
        does not (equation 15).
      adversarial_mean: "pooled" over source and confident target samples (code), or
        the "sum" of both means (equation 12).
      reversal_lead: how far, in progress, the reversal's schedule is ahead of L_T's:
        the authors' code counts the iteration that is going on, of 10 000.
      schedule_target_loss: whether L_T has the weight lambda, or 1 from the start (the
        authors' script for digits).
      bottleneck: width of a linear layer behind the encoder; 0: none.
      hidden: width of both hidden layers of D.
      dropout: rate in D.
      joint: source and unlabelled target are one forward pass (the authors' digits).

    Raises:
      InputError: an unknown option, or fewer than two classes.
    """
    check(target_loss_scale=target_loss_scale, adversarial_mean=adversarial_mean)
    if num_classes < 2:
        raise errors.InputError(f"method 'alda' needs 2 classes, not {num_classes}.")

    def adversarial_learned(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        passes, variables = _forward.streams(model, variables, batch, key, joint=joint)
        supervised = _forward.supervised_loss(model, variables, passes, batch, key)
        strength = ops.adaptation(progress + reversal_lead)

        def discriminate(name: str, reverse: jax.Array | None) -> jax.Array:
            features = getattr(passes, name)
            if reverse is None:  # the regularisation reaches D only
                features = jax.lax.stop_gradient(features)
            drop = keys.key(key, name)  # the same in both uses
            return model.head(
                variables, "discriminator", features, reverse=reverse, key=drop
            )[0]

        found = losses(
            discriminate("source", strength),
            discriminate("unlabeled", strength),
            discriminate("source", None),
            _forward.classify(model, variables, passes.source, key)[0],
            _forward.classify(model, variables, passes.unlabeled, key)[0],
            batch.source.label,
            threshold=threshold,
            target_loss_scale=target_loss_scale,
            adversarial_mean=adversarial_mean,
        )
        weight = ops.adaptation(progress) if schedule_target_loss else 1.0
        loss = (
            supervised
            + found.adversarial
            + found.regularization
            + weight * found.corrected
        )
        return loss, (variables, {"cross_entropy": supervised, **found._asdict()})

    modules = {
        **heads.bottleneck(bottleneck),
        "classifier": heads.Linear(num_classes, initial="xavier"),
        "discriminator": heads.Discriminator(
            num_classes, hidden=(hidden, hidden), dropout=dropout
        ),
    }
    return Method(modules, (adversarial_learned,))


def check(*, target_loss_scale: str, adversarial_mean: str) -> None:
    """Raises InputError if an option is unknown."""
    for name, value, valid in (
        ("target_loss_scale", target_loss_scale, get_args(Scale)),
        ("adversarial_mean", adversarial_mean, get_args(Mean)),
    ):
        errors.check_choice(f"methods.alda.{name}", value, valid)


def losses(
    source_score: jax.Array,
    target_score: jax.Array,
    source_score_alone: jax.Array,
    source_logits: jax.Array,
    target_logits: jax.Array,
    label: Array,
    *,
    threshold: float = 0.9,
    target_loss_scale: Scale = "code",
    adversarial_mean: Mean = "pooled",
) -> Losses:
    """The three terms, each with the gradient that it is meant to have.

    Args:
      source_score: float32[B_s, K], raw outputs of D.
      target_score: float32[B_t, K].
      source_score_alone: source_score, without gradient into the features.
      source_logits: float32[B_s, K], of the classifier.
      target_logits: float32[B_t, K].
      label: int32[B_s]; rows with UNLABELED do not count.
      threshold: as in `make`, and so the others.
      target_loss_scale: see there.
      adversarial_mean: see there.
    """
    num_classes = source_score.shape[-1]
    label = jnp.asarray(label)
    known = (label != UNLABELED).astype(jnp.float32)
    truth = jax.nn.one_hot(label, num_classes)
    p = jax.nn.softmax(target_logits)
    kept = (p.max(-1) > threshold).astype(jnp.float32)
    guess = jax.nn.one_hot(target_logits.argmax(-1), num_classes)
    noise = (1 - guess) / (num_classes - 1)  # u: wrong wherever the guess is right

    mine = jax.nn.one_hot(source_logits.argmax(-1), num_classes)
    source = known * _binary_cross_entropy(source_score, mine, truth)
    target = kept * _binary_cross_entropy(target_score, guess, noise)
    counts = [jnp.sum(known), jnp.sum(kept)]
    if adversarial_mean == "pooled":
        adversarial = (source.sum() + target.sum()) / jnp.maximum(sum(counts), 1)
    else:
        adversarial = _mean(source, counts[0]) + _mean(target, counts[1])

    corrected = jnp.exp(_log_corrected(target_score, guess)[0])
    agreement = jnp.sum(p * jax.lax.stop_gradient(corrected), -1)  # [B_t]
    if target_loss_scale == "code":
        unhinged = -agreement / num_classes
    else:
        unhinged = 1 - agreement  # sum_k c_k (1 - p_k), for sum_k c_k = 1
    return Losses(
        adversarial,
        ops.cross_entropy(source_score_alone, label),
        _mean(kept * unhinged, counts[1]),
        counts[1],
    )


def _log_corrected(score: jax.Array, guess: jax.Array) -> tuple[jax.Array, jax.Array]:
    """log c and log(1 - c), float32[B, K]: c is sigmoid(D) at the guess, xi.

    Elsewhere c is (1 - xi) / (K - 1): only the guess's output of D gets a gradient.
    """
    num_classes = score.shape[-1]
    at_guess = jnp.sum(score * guess, -1, keepdims=True)  # [B, 1]
    log_xi = jax.nn.log_sigmoid(at_guess)
    log_rest = jax.nn.log_sigmoid(-at_guess)
    share = jnp.log(float(num_classes - 1))
    if num_classes == 2:
        log_not_share = log_xi
    else:  # 1 - c = (K - 2 + xi) / (K - 1)
        log_not_share = jnp.logaddexp(jnp.log(float(num_classes - 2)), log_xi) - share
    chosen = guess > 0
    return (
        jnp.where(chosen, log_xi, log_rest - share),
        jnp.where(chosen, log_rest, log_not_share),
    )


def _binary_cross_entropy(
    score: jax.Array, guess: jax.Array, wanted: jax.Array
) -> jax.Array:
    """sum_k BCE(c_k, wanted_k), float32[B]; logarithms stop at -100 as in torch."""
    log_c, log_not_c = (jnp.maximum(x, -100.0) for x in _log_corrected(score, guess))
    return -jnp.sum(wanted * log_c + (1 - wanted) * log_not_c, -1)


def _mean(values: jax.Array, count: jax.Array) -> jax.Array:
    """Of `count` values; 0, with gradient 0, where there is none."""
    return values.sum() / jnp.maximum(count, 1)
