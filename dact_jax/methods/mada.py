"""MADA: multi-adversarial domain adaptation (Pei et al., AAAI 2018)."""

import jax
import jax.numpy as jnp

from dact_jax import keys, kinds, ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import Batch, Features, Key, Method, Metrics, Model, Variables

OPTIONS = {
    "weight": kinds.Option(kinds.real(), "weight of the domain losses"),
    "bottleneck": kinds.Option(kinds.whole(0, 65536), "units of that layer; 0: none"),
    "hidden": kinds.Option(kinds.width(), "units of a layer of each discriminator"),
    "dropout": kinds.Option(kinds.rate(), "rate in the discriminators"),
    "joint": kinds.Option(kinds.flag(), "both domains pass the network as one batch"),
}


def make(
    num_classes: int,
    *,
    weight: float = 0.3,
    bottleneck: int = 0,
    hidden: int = 1024,
    dropout: float = 0.5,
    joint: bool = False,
) -> Method:
    """One gradient step an iteration on CE(labels) + weight sum_k L_k.

    L_k is the domain loss of the k-th discriminator, D_k(p_k f): the embedding f times
    the predicted probability of class k, which gets no gradient (the authors' Caffe
    layer). The gradient of L_k into the encoder is multiplied by -lambda; lambda
    depends on progress, which is clipped to 1.

    Args:
      weight: of each discriminator's loss.
      bottleneck: width of a linear layer after the encoder; 0: none.
      hidden: width of both hidden layers of each discriminator.
      dropout: rate in the discriminators.
      joint: encode source and unlabelled target in one forward pass.
    """

    def multi_adversarial(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        streams, variables = _forward.encode_streams(
            model, variables, batch, key, joint=joint
        )
        supervised = _forward.supervised_loss(model, variables, streams, batch, key)
        strength = ops.adaptation(jnp.minimum(progress, 1.0))

        def discriminate(name: str, features: Features) -> jax.Array:
            drop = keys.key(key, name)
            return model.head(
                variables, "discriminators", features, reverse=strength, key=drop
            )[0]

        source = discriminate("source", streams.source)  # [B_s, K]
        target = discriminate("unlabeled", streams.unlabeled)  # [B_t, K]
        domain = jnp.sum(per_class_loss(source, target))
        metrics = {"cross_entropy": supervised, "domain_loss": domain}
        return supervised + weight * domain, (variables, metrics)

    modules = {
        **heads.bottleneck(bottleneck),
        "classifier": heads.Linear(num_classes, initial="xavier"),
        "discriminators": heads.ClasswiseDiscriminator(
            num_classes, hidden=(hidden, hidden), dropout=dropout
        ),
    }
    return Method(modules, (multi_adversarial,))


def per_class_loss(source: jax.Array, target: jax.Array) -> jax.Array:
    """L_k of each class: the mean binary cross entropy over both domains' samples.

    Args:
      source: float32[B_s, K], logits; their label is 0.
      target: float32[B_t, K], logits; their label is 1.

    Returns:
      float32[K].
    """
    source_loss = ops.binary_cross_entropy(source, 0.0)
    target_loss = ops.binary_cross_entropy(target, 1.0)
    return jnp.concatenate([source_loss, target_loss]).mean(0)
