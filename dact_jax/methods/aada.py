"""AADA's training (Su et al., WACV 2020), in the form of CLUE's authors' code."""

import jax
import jax.numpy as jnp

from dact_jax import keys, ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import Batch, Key, Method, Metrics, Model, Variables

PROVIDES = ("discriminator",)  # logits of the domain, for acquisitions


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
    """One step on: source_weight CE(source) + CE(labelled target)

    + domain_weight CE(domain of source and unlabelled target; gradient reversed, times
    1) + entropy_weight H(unlabelled target). The discriminator sees the logits of the
    classifier. Labelled target images are no part of the domain loss.

    Args:
      num_classes: K.
      source_weight: once there are target labels.
      domain_weight: then; 1 for digits, 0.1 for DomainNet.
      entropy_weight: then; 0.1 for digits, 0.01 for DomainNet.
      first_source_weight: before the first target label (round 0).
      first_domain_weight: then.
      first_entropy_weight: then.
      hidden: width of both hidden layers of the discriminator.
    """

    def adversarial(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        del progress
        passes, variables = _forward.streams(model, variables, batch, key)
        logits = _forward.classify(model, variables, passes.source, key)
        of_source = ops.cross_entropy(logits[0], batch.source.label)
        unlabeled = _forward.classify(model, variables, passes.unlabeled, key)
        entropy = ops.entropy(unlabeled, epsilon=0.0)
        domain = domain_loss(
            *(
                model.head(
                    variables,
                    "discriminator",
                    features,
                    reverse=1.0,
                    key=keys.key(key, "discriminator"),
                )[0]
                for features in (passes.source, passes.unlabeled)
            )
        )
        metrics = {"source": of_source, "domain_loss": domain, "entropy": entropy}
        if passes.target is None or batch.target is None:
            loss = (
                first_source_weight * of_source
                + first_domain_weight * domain
                + first_entropy_weight * entropy
            )
            return loss, (variables, metrics)
        logits = _forward.classify(model, variables, passes.target, key)
        of_target = ops.cross_entropy(logits[0], batch.target.label)
        loss = (
            source_weight * of_source
            + of_target
            + domain_weight * domain
            + entropy_weight * entropy
        )
        return loss, (variables, {"target": of_target, **metrics})

    modules = {
        "classifier": heads.Linear(num_classes),
        "discriminator": heads.Discriminator(
            2, hidden=(hidden, hidden), dropout=0.0, initial="torch", on="classifier"
        ),
    }
    return Method(modules, (adversarial,))


def domain_loss(source: jax.Array, target: jax.Array) -> jax.Array:
    """Mean cross entropy over both domains' samples; source is class 1, target 0.

    Args:
      source: float32[B_s, 2], logits.
      target: float32[B_t, 2], logits.
    """
    logits = jnp.concatenate([source, target])
    label = jnp.arange(len(logits)) < len(source)
    return ops.cross_entropy(logits, label.astype(jnp.int32))
