"""EADA (Xie et al., AAAI 2022): the target's free energy is aligned with the source's.

With the logits z of a sample, the energy of class k is E(x, k) = -z_k, and the free
energy is F(x) = -log sum_k exp(z_k). Training gives the source a low free energy, so
that a high one, which acquisition "energy" looks for, tells what is unlike the source.
"""

import jax
import jax.numpy as jnp

from dact_jax import kinds, ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import (
    METHOD,
    SOURCE,
    Array,
    Batch,
    Key,
    Method,
    Metrics,
    Model,
    Variables,
)

OPTIONS = {
    "weight": kinds.Option(kinds.real(), "weight of the alignment of free energies"),
    "momentum": kinds.Option(
        kinds.positive(1), "weight of a batch in the running mean of the free energy"
    ),
}
# Of the running mean, which is the quotient: both begin at 0, so that the mean of the
# first batch counts in full. float32[D, 1], equal in all rows.
_SUM, _WEIGHT = "free_energy_sum", "free_energy_weight"


def make(num_classes: int, *, weight: float = 0.01, momentum: float = 0.1) -> Method:
    """One gradient step an iteration on

    L_nll(source) + L_nll(labelled target)
    + weight mean max(0, F(unlabelled target) - running mean of F(source)).

    The source energy loss L_nll = E(x, y) - F(x) = E(x, y) + log sum_k exp(-E(x, k)) is
    the negative log likelihood of the energy-based model; at the paper's temperature 1
    it is the cross entropy of the logits. Each L_nll is the mean of its own stream.

    Args:
      weight: of the alignment; the paper's gamma, 0.01.
      momentum: m of the running mean, in which a batch has the weight m and the older
        ones decay by 1 - m; the weights are divided by their sum. It includes the
        current batch, and no gradient flows into it.
    """

    def align(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        del progress
        streams, variables = _forward.encode_streams(model, variables, batch, key)
        logits = _forward.classify(model, variables, streams.source, key)[0]
        source = ops.cross_entropy(logits, batch.source.label)
        variables, mean = _update_mean(variables, logits, momentum)
        unlabeled = _forward.classify(model, variables, streams.unlabeled, key)[0]
        alignment = alignment_loss(unlabeled, mean)
        metrics = {"source": source, "alignment": alignment, "free_energy": mean}
        loss = source + weight * alignment
        if streams.target is not None and batch.target is not None:
            logits = _forward.classify(model, variables, streams.target, key)[0]
            metrics["target"] = ops.cross_entropy(logits, batch.target.label)
            loss += metrics["target"]
        return loss, (variables, metrics)

    return Method({"classifier": heads.Linear(num_classes)}, (align,), prepare)


def prepare(variables: Variables) -> Variables:
    """Adds the running mean of the source's free energy, of no batch yet."""
    norms = jax.tree.leaves(variables.stats)
    rows = len(norms[0]) if norms else 1
    # Two arrays, because the training step donates its arguments.
    running = {name: jnp.zeros((rows, 1)) for name in (_SUM, _WEIGHT)}
    return variables._replace(stats={**variables.stats, METHOD: running})


def free_energy(logits: jax.Array) -> jax.Array:
    """F = -log sum_k exp(z_k), float32[...].

    Args:
      logits: z, float32[..., K].
    """
    return -jax.nn.logsumexp(logits, axis=-1)


def alignment_loss(logits: jax.Array, bound: Array) -> jax.Array:
    """The mean of max(0, F - bound), float32[].

    Args:
      logits: float32[B, K], of unlabelled target samples.
      bound: float32[], the mean free energy of the source.
    """
    return jnp.mean(jax.nn.relu(free_energy(logits) - bound))


def _update_mean(
    variables: Variables, logits: jax.Array, momentum: float
) -> tuple[Variables, jax.Array]:
    """The variables after a batch of the source, and the running mean, float32[]."""
    batch_mean = jax.lax.stop_gradient(free_energy(logits).mean())
    old = variables.stats[METHOD]
    running = {
        _SUM: (1 - momentum) * old[_SUM] + momentum * batch_mean,
        _WEIGHT: (1 - momentum) * old[_WEIGHT] + momentum,
    }
    mean = (running[_SUM] / running[_WEIGHT])[SOURCE, 0]
    stats = {**variables.stats, METHOD: running}
    return variables._replace(stats=stats), mean
