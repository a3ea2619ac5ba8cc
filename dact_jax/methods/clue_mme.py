"""The training of CLUE (Prabhu et al., ICCV 2021): MME without its cosine head."""

import jax

from dact_jax import ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import Batch, Key, Method, Metrics, Model, Variables


def make(
    num_classes: int,
    *,
    source_weight: float = 0.1,
    entropy_weight: float = 1.0,
    first_source_weight: float = 1.0,
    first_entropy_weight: float = 1.0,
) -> Method:
    """Two gradient steps an iteration, with a linear classifier and no temperature:

    1. source_weight CE(source) + CE(labelled target), each a forward pass of its own;
    2. on unlabelled target the classifier ascends the entropy, the encoder descends it.

    Args:
      num_classes: K.
      source_weight: once there are target labels.
      entropy_weight: then; 1 for digits, 0.1 for DomainNet.
      first_source_weight: before the first target label (round 0).
      first_entropy_weight: then. The authors' code means 0.1 and assigns it to a
        variable that is not used, so that the weight stays 1.
    """

    def supervised(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        del progress
        source, variables = _forward.stream(model, variables, batch, "source", key)
        logits = _forward.classify(model, variables, source, key)
        of_source = ops.cross_entropy(logits[0], batch.source.label)
        if batch.target is None:
            loss = first_source_weight * of_source
            return loss, (variables, {"source": of_source})
        target, variables = _forward.stream(model, variables, batch, "target", key)
        logits = _forward.classify(model, variables, target, key)
        of_target = ops.cross_entropy(logits[0], batch.target.label)
        loss = source_weight * of_source + of_target
        return loss, (variables, {"source": of_source, "target": of_target})

    def minimax_entropy(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        del progress
        weight = first_entropy_weight if batch.target is None else entropy_weight
        entropy, variables = _forward.reversed_entropy(model, variables, batch, key)
        return -weight * entropy, (variables, {"entropy": entropy})

    modules = {"classifier": heads.Linear(num_classes)}
    return Method(modules, (supervised, minimax_entropy))
