"""MADA: multi-adversarial domain adaptation (Pei et al., AAAI 2018)."""

import jax
import jax.numpy as jnp

from dact_jax import keys, ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import Batch, Key, Method, Metrics, Model, Variables


def make(
    num_classes: int,
    *,
    weight: float = 0.3,
    bottleneck: int = 0,
    hidden: int = 1024,
    dropout: float = 0.5,
    joint: bool = False,
) -> Method:
    """Cross entropy on labels + weight sum_k the k-th discriminator's domain loss.

    D_k sees p_k f, f weighted by the predicted probability of class k, which gets no
    gradient (the authors' Caffe layer). The encoder gets the gradient times -lambda,
    which stops rising at progress 1.

    Args:
      num_classes: K.
      weight: of each discriminator's loss.
      bottleneck: width of a linear layer behind the encoder; 0: none.
      hidden: width of both hidden layers of each discriminator.
      dropout: rate in them.
      joint: source and unlabelled target are one forward pass.
    """

    def multi_adversarial(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        passes, variables = _forward.streams(model, variables, batch, key, joint=joint)
        supervised = _forward.supervised_loss(model, variables, passes, batch, key)
        strength = ops.adaptation(jnp.minimum(progress, 1.0))
        source, target = (
            model.head(
                variables,
                "discriminators",
                getattr(passes, name),
                reverse=strength,
                key=keys.key(key, name),
            )[0]
            for name in ("source", "unlabeled")
        )  # [B, K]
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
    """Each discriminator's binary cross entropy, a mean over both domains' samples.

    Args:
      source: float32[B_s, K], logits; the label is 0.
      target: float32[B_t, K], logits; the label is 1.

    Returns:
      float32[K].
    """
    of_source = ops.binary_cross_entropy(source, 0.0)
    of_target = ops.binary_cross_entropy(target, 1.0)
    return jnp.concatenate([of_source, of_target]).mean(0)
