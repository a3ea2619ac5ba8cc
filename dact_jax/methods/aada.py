"""AADA's training (Su et al., WACV 2020), as implemented in CLUE's code."""

import jax
import jax.numpy as jnp

from dact_jax import keys, kinds, ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import Batch, Features, Key, Method, Metrics, Model, Variables

PROVIDES = ("discriminator",)  # logits of the domain, for acquisitions


OPTIONS = {
    **{
        name: kinds.Option(kinds.real(), f"weight of {what}")
        for name, what in {
            "source_weight": "the source's cross entropy, from round 1 on",
            "domain_weight": "the domain loss, from round 1 on",
            "entropy_weight": "the target's entropy, from round 1 on",
            "first_source_weight": "the source's cross entropy in round 0",
            "first_domain_weight": "the domain loss in round 0",
            "first_entropy_weight": "the target's entropy in round 0",
        }.items()
    },
    "hidden": kinds.Option(kinds.width(), "units of a layer of the discriminator"),
}


def make(
    num_classes: int,
    *,
    source_weight: float = 0.1,
    domain_weight: float = 1.0,
    entropy_weight: float = 0.1,
    first_source_weight: float = 1.0,
    first_domain_weight: float = 0.1,
    first_entropy_weight: float = 0.01,
    hidden: int = 500,
) -> Method:
    """One gradient step an iteration on

    source_weight CE(source) + CE(labelled target) + domain_weight L_D
    + entropy_weight H(unlabelled target),

    where L_D is the cross entropy of a domain discriminator on the classifier's logits
    of source and unlabelled target. Its gradient into classifier and encoder is
    multiplied by -1. Labelled target images are no part of L_D.

    Args:
      source_weight: used once there are target labels.
      domain_weight: used once there are target labels; 1 for digits, 0.1 for
        DomainNet.
      entropy_weight: used once there are target labels; 0.1 for digits, 0.01 for
        DomainNet.
      first_source_weight: used before the first target label (round 0).
      first_domain_weight: used before the first target label.
      first_entropy_weight: used before the first target label.
      hidden: width of both hidden layers of the discriminator.
    """

    def adversarial(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        del progress
        streams, variables = _forward.encode_streams(model, variables, batch, key)
        logits = _forward.classify(model, variables, streams.source, key)
        source_loss = ops.cross_entropy(logits[0], batch.source.label)
        logits = _forward.classify(model, variables, streams.unlabeled, key)
        entropy = ops.entropy(logits, epsilon=0.0)

        def discriminate(features: Features) -> jax.Array:
            drop = keys.key(key, "discriminator")
            return model.head(
                variables, "discriminator", features, reverse=1.0, key=drop
            )[0]

        domain = domain_loss(
            discriminate(streams.source), discriminate(streams.unlabeled)
        )
        metrics = {"source": source_loss, "domain_loss": domain, "entropy": entropy}
        if streams.target is None or batch.target is None:
            loss = (
                first_source_weight * source_loss
                + first_domain_weight * domain
                + first_entropy_weight * entropy
            )
            return loss, (variables, metrics)
        logits = _forward.classify(model, variables, streams.target, key)
        target_loss = ops.cross_entropy(logits[0], batch.target.label)
        loss = (
            source_weight * source_loss
            + target_loss
            + domain_weight * domain
            + entropy_weight * entropy
        )
        return loss, (variables, {"target": target_loss, **metrics})

    modules = {
        "classifier": heads.Linear(num_classes),
        "discriminator": heads.Discriminator(
            2, hidden=(hidden, hidden), dropout=0.0, initial="torch", on="classifier"
        ),
    }
    return Method(modules, (adversarial,))


def domain_loss(source: jax.Array, target: jax.Array) -> jax.Array:
    """L_D: mean cross entropy over the samples of both domains, float32[].

    Args:
      source: float32[B_s, 2], logits; their class is 1.
      target: float32[B_t, 2], logits; their class is 0.
    """
    logits = jnp.concatenate([source, target])
    label = jnp.arange(len(logits)) < len(source)
    return ops.cross_entropy(logits, label.astype(jnp.int32))
