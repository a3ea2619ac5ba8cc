"""Minimax entropy (Saito et al., ICCV 2019): the base learner of S_AcT and D_AcT."""

from typing import Literal, get_args

import flax.linen as nn
import jax

from dact_jax import kinds
from dact_jax.methods import _forward, source_only
from dact_jax.models import heads
from dact_jax.types import Batch, Key, Method, Metrics, Model, Variables

Head = Literal["two_layer", "cosine"]


OPTIONS = {
    "weight": kinds.Option(kinds.real(), "lambda, the weight of the entropy"),
    "temperature": kinds.Option(kinds.positive(), "T, which divides the similarities"),
    "head": kinds.Option(kinds.choice(*get_args(Head)), "layers of the classifier"),
}


def make(
    num_classes: int,
    *,
    weight: float = 0.1,
    temperature: float = 0.05,
    head: Head = "two_layer",
) -> Method:
    """Two gradient steps an iteration, as in the reference code:

    1. encoder F and classifier C minimise the cross entropy on source and labelled
       target (equation 2 of MME; equation 1 of S_AcT);
    2. on unlabelled target, C maximises the entropy H of its predictions and F
       minimises it, by gradient reversal (equation 4 of MME; equation 2 of S_AcT).

    Args:
      weight: lambda, the weight of the entropy.
      temperature: T, which divides the cosine similarities.
      head: "two_layer" (for ResNets; the reversal is after its first layer) or
        "cosine" (for AlexNet, VGG and LeNet; features are normalised and the reversal
        is before the normalisation).
    """

    def minimax_entropy(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        del progress
        entropy, variables = _forward.reversed_entropy(model, variables, batch, key)
        return -weight * entropy, (variables, {"entropy": entropy})

    classifier = _classifier(head, num_classes, temperature)
    return Method({"classifier": classifier}, (source_only.supervised, minimax_entropy))


def _classifier(head: Head, num_classes: int, temperature: float) -> nn.Module:
    if head == "two_layer":
        return heads.TwoLayer(num_classes, temperature=temperature)
    return heads.Cosine(num_classes, temperature=temperature)
