"""DUC (Xie et al., ICLR 2023): a classifier whose logits are evidence, calibrated.

The logits z of a sample are a Dirichlet distribution over predictions, with parameters
alpha_k = exp(z_k). Training makes it certain on the target; by what stays uncertain,
acquisition "dirichlet" chooses.
"""

import jax
import jax.numpy as jnp

from dact_jax import kinds, ops
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

# Logits that the divergence sees stop here: beyond, float32 leaves only noise of the
# differences that its gradient is made of.
_LARGEST = 10.0

OPTIONS = {
    "distribution_weight": kinds.Option(
        kinds.real(), "beta, weight of the target's distributional uncertainty"
    ),
    "data_weight": kinds.Option(
        kinds.real(), "lambda, weight of the target's data uncertainty"
    ),
    "divergence_weight": kinds.Option(
        kinds.real(),
        "weight of the evidence for wrong classes, divided by their number",
    ),
}


def make(
    num_classes: int,
    *,
    distribution_weight: float = 1.0,
    data_weight: float = 0.05,
    divergence_weight: float = 1.0,
) -> Method:
    """One gradient step an iteration on

    L_edl(source) + L_edl(labelled target)
    + distribution_weight U_dist + data_weight U_data,

    where L_edl = L_nll + divergence_weight L_kl / K, each the mean of its own stream,
    and U_dist and U_data are the mean mutual information and the mean expected entropy
    of the unlabelled target (`ops.dirichlet_uncertainties`).

    L_nll = log sum_k alpha_k - log alpha_y, the negative log likelihood of the label
    under the Dirichlet-categorical distribution, is the cross entropy of the logits.
    L_kl is `divergence`.

    Args:
      distribution_weight: the paper's 1.
      data_weight: the paper's 0.05.
      divergence_weight: the division by K keeps the term's size as classes are more.
    """

    def supervised(logits: jax.Array, label: Array) -> tuple[jax.Array, jax.Array]:
        labelled = jnp.asarray(label) != UNLABELED
        count = jnp.maximum(jnp.sum(labelled), 1).astype(logits.dtype)
        excess = jnp.sum(jnp.where(labelled, divergence(logits, label), 0.0)) / count
        return ops.cross_entropy(logits, label), excess / num_classes

    def calibrate(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        del progress
        streams, variables = _forward.encode_streams(model, variables, batch, key)
        logits = _forward.classify(model, variables, streams.source, key)[0]
        source, excess = supervised(logits, batch.source.label)
        logits = _forward.classify(model, variables, streams.unlabeled, key)[0]
        distributional, data = uncertainties(logits)
        loss = (
            source
            + divergence_weight * excess
            + distribution_weight * distributional
            + data_weight * data
        )
        metrics = {
            "source": source,
            "divergence": excess,
            "distributional_uncertainty": distributional,
            "data_uncertainty": data,
        }
        if streams.target is not None and batch.target is not None:
            logits = _forward.classify(model, variables, streams.target, key)[0]
            metrics["target"], excess = supervised(logits, batch.target.label)
            metrics["divergence"] += excess
            loss += metrics["target"] + divergence_weight * excess
        return loss, (variables, metrics)

    return Method({"classifier": heads.Linear(num_classes)}, (calibrate,))


def divergence(logits: jax.Array, label: Array) -> jax.Array:
    """KL(Dir(a) || Dir(1, ..., 1)), a being alpha with 1 at the label; float32[B].

    With a_0 = sum_k a_k, it is
    log Gamma(a_0) - log Gamma(K) - sum_k log Gamma(a_k)
    + sum_k (a_k - 1) (psi(a_k) - psi(a_0)).
    It is 0 where every other class has the logit 0, which is no evidence for it.

    Args:
      logits: float32[B, K]; they are clipped to +-10 here.
      label: int32[B]; a row with UNLABELED keeps all its alpha.
    """
    num_classes = logits.shape[-1]
    alpha = jnp.exp(jnp.clip(logits, -_LARGEST, _LARGEST))
    a = jnp.where(jax.nn.one_hot(label, num_classes) > 0, 1.0, alpha)
    total = a.sum(-1, keepdims=True)
    log_gamma, psi = jax.scipy.special.gammaln, jax.scipy.special.digamma
    return (
        log_gamma(total[..., 0])
        - log_gamma(float(num_classes))
        - jnp.sum(log_gamma(a), -1)
        + jnp.sum((a - 1) * (psi(a) - psi(total)), -1)
    )


def uncertainties(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(mean distributional, mean data uncertainty) of a batch in nats, float32[] each.

    Args:
      logits: float32[B, K].
    """
    distributional, data = ops.dirichlet_uncertainties(ops.dirichlet(logits))
    return distributional.mean(), data.mean()
