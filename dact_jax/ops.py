"""Losses and layers without parameters that several methods share."""

import jax
import jax.numpy as jnp

from dact_jax.types import UNLABELED, Array

LARGEST_EVIDENCE = 20.0  # of a logit, so that its exponential is a number


@jax.custom_vjp
def reverse_gradient(x: jax.Array, strength: jax.Array | float) -> jax.Array:
    """Identity whose gradient is multiplied by -strength (Ganin & Lempitsky, 2015).

    Args:
      x: float[...].
      strength: float[], may be traced, such as a schedule; its gradient is zero.
    """
    del strength
    return x


def _reverse_forward(x, strength):  # type: ignore[no-untyped-def]
    return x, jnp.asarray(strength)


def _reverse_backward(strength, cotangent):  # type: ignore[no-untyped-def]
    return -strength.astype(cotangent.dtype) * cotangent, jnp.zeros_like(strength)


reverse_gradient.defvjp(_reverse_forward, _reverse_backward)


def normalize(x: jax.Array, epsilon: float = 1e-12) -> jax.Array:
    """x / max(||x||_2, epsilon) along the last axis, with a finite gradient at 0.

    Args:
      x: float[..., F].
      epsilon: lower bound of the divisor.
    """
    squared = jnp.sum(x * x, axis=-1, keepdims=True)
    small = squared <= epsilon**2
    norm = jnp.sqrt(
        jnp.where(small, 1.0, squared)
    )  # the gradient of sqrt is infinite at 0
    return x / jnp.where(small, epsilon, norm)


def cross_entropy(logits: jax.Array, label: Array) -> jax.Array:
    """Mean cross entropy over the labelled rows; 0 if there are none.

    Args:
      logits: float32[..., K].
      label: int32[...]; rows with UNLABELED are ignored.
    """
    label = jnp.asarray(label)
    labelled = label != UNLABELED
    log_p = jax.nn.log_softmax(logits)
    index = jnp.where(labelled, label, 0)[..., None]
    nll = -jnp.take_along_axis(log_p, index, axis=-1)[..., 0]
    count = jnp.sum(labelled).astype(nll.dtype)
    return jnp.sum(jnp.where(labelled, nll, 0.0)) / jnp.maximum(count, 1)


def binary_cross_entropy(logits: jax.Array, label: float) -> jax.Array:
    """-log sigmoid(logits) for label 1, -log sigmoid(-logits) for label 0.

    Args:
      logits: float32[...].
      label: 0 or 1, the same for all logits.

    Returns:
      float32[...], not averaged.
    """
    return jax.nn.softplus(logits) - label * logits


def entropy(logits: jax.Array, epsilon: float = 1e-5) -> jax.Array:
    """Mean of -sum_k p_k log(p_k + epsilon), in nats (MME: epsilon 1e-5).

    Args:
      logits: float32[..., K].
      epsilon: inside the logarithm, as in the reference code; 0: exact entropy.
    """
    p = jax.nn.softmax(logits)
    log_p = jnp.log(p + epsilon) if epsilon else jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.sum(p * log_p, axis=-1))


def dirichlet(logits: jax.Array) -> jax.Array:
    """alpha_k = exp(z_k), parameters of a Dirichlet distribution over predictions.

    Args:
      logits: z, float[..., K]; they are clipped to +-LARGEST_EVIDENCE.
    """
    return jnp.exp(jnp.clip(logits, -LARGEST_EVIDENCE, LARGEST_EVIDENCE))


def dirichlet_uncertainties(alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(distributional, data uncertainty) in nats, float[...] each (DUC).

    With a_0 = sum_k alpha_k, m_k = alpha_k / a_0 and the digamma function psi, the data
    uncertainty is the expected entropy sum_k m_k (psi(a_0 + 1) - psi(alpha_k + 1)), and
    the distributional one the mutual information -sum_k m_k log m_k - data.

    Args:
      alpha: float[..., K], positive.
    """
    total = alpha.sum(-1, keepdims=True)
    mean = alpha / total
    psi = jax.scipy.special.digamma
    data = jnp.sum(mean * (psi(total + 1) - psi(alpha + 1)), -1)
    return -jnp.sum(mean * jnp.log(mean), -1) - data, data


def adaptation(progress: jax.Array, *, alpha: float = 10.0) -> jax.Array:
    """Adaptation factor 2 / (1 + exp(-alpha p)) - 1 (Ganin et al., 2016).

    Args:
      progress: p, float32[], from 0 at the start of training to 1 at the end of the
        schedule, where the factor is nearly 1; values above 1 are allowed.
      alpha: steepness; 10 in all references.
    """
    return 2.0 / (1.0 + jnp.exp(-alpha * progress)) - 1.0
