"""The training of CLUE (Prabhu et al., ICCV 2021): MME with a linear classifier."""

import jax

from dact_jax import kinds, ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import Batch, Key, Method, Metrics, Model, Variables

OPTIONS = {
    name: kinds.Option(kinds.real(), f"weight of {what}")
    for name, what in {
        "source_weight": "the source's cross entropy, from round 1 on",
        "entropy_weight": "the target's entropy, from round 1 on",
        "first_source_weight": "the source's cross entropy in round 0",
        "first_entropy_weight": "the target's entropy in round 0",
    }.items()
}


def make(
    num_classes: int,
    *,
    source_weight: float = 0.1,
    entropy_weight: float = 1.0,
    first_source_weight: float = 1.0,
    first_entropy_weight: float = 1.0,
) -> Method:
    """Two gradient steps an iteration, without normalisation or temperature:

    1. encoder and classifier minimise source_weight CE(source) + CE(labelled target),
       each a separate forward pass;
    2. on unlabelled target, the classifier maximises entropy_weight H and the encoder
       minimises it, by gradient reversal.

    Args:
      source_weight: used once there are target labels.
      entropy_weight: used once there are target labels; 1 for digits, 0.1 for
        DomainNet.
      first_source_weight: used before the first target label (round 0).
      first_entropy_weight: used before the first target label. The authors' code
        assigns 0.1 to a variable that it never reads, so that the weight stays 1.
    """

    def supervised(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        del progress
        features, variables = _forward.encode_stream(
            model, variables, batch, "source", key
        )
        logits = _forward.classify(model, variables, features, key)
        source_loss = ops.cross_entropy(logits[0], batch.source.label)
        if batch.target is None:
            loss = first_source_weight * source_loss
            return loss, (variables, {"source": source_loss})
        features, variables = _forward.encode_stream(
            model, variables, batch, "target", key
        )
        logits = _forward.classify(model, variables, features, key)
        target_loss = ops.cross_entropy(logits[0], batch.target.label)
        loss = source_weight * source_loss + target_loss
        return loss, (variables, {"source": source_loss, "target": target_loss})

    def minimax_entropy(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        del progress
        weight = first_entropy_weight if batch.target is None else entropy_weight
        entropy, variables = _forward.reversed_entropy(model, variables, batch, key)
        return -weight * entropy, (variables, {"entropy": entropy})

    modules = {"classifier": heads.Linear(num_classes)}
    return Method(modules, (supervised, minimax_entropy))
