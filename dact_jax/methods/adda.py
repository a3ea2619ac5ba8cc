"""ADDA: adversarial discriminative domain adaptation (Tzeng et al., CVPR 2017)."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from dact_jax import keys, kinds, ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import (
    SOURCE,
    Batch,
    Features,
    Key,
    Method,
    Metrics,
    Model,
    Variables,
)

PROVIDES = ("discriminator",)  # a logit of the domain, for acquisitions

Form = Literal["inverted", "reversal"]

SOURCE_ENCODER = "source_encoder"  # entry of params: the frozen encoder of stage one


OPTIONS = {
    "form": kinds.Option(kinds.choice(*get_args(Form)), "how the encoder is adapted"),
    "reversal": kinds.Option(kinds.real(), "of the form reversal: gradient's factor"),
    "bottleneck": kinds.Option(kinds.whole(0, 65536), "units of that layer; 0: none"),
    "hidden": kinds.Option(kinds.each(kinds.width()), "units of the discriminator"),
    "dropout": kinds.Option(kinds.rate(), "rate in the discriminator"),
}


def make(
    num_classes: int,
    *,
    form: Form = "inverted",
    reversal: float = 2.0,
    bottleneck: int = 0,
    hidden: tuple[int, ...] = (500, 500),
    dropout: float = 0.0,
) -> Method:
    """The second stage: trains a target encoder until it looks like the source's.

    The first stage is pre-training on the source (config.pretrain). Its encoder is
    frozen with its running batch-norm moments and encodes the source; a copy of it is
    trained as the target encoder. Only target labels, if any, train the classifier.

    Args:
      form: "inverted": discriminator and encoder take one simultaneous step, the
        discriminator on equation 7 of the paper and the encoder on equation 8, the
        cross entropy with inverted labels; "reversal": the encoder gets the gradient
        of equation 7 times -reversal x lambda (the Transfer-Learning-Library).
      reversal: final strength of the gradient reversal; only "reversal" uses it.
      bottleneck: width of a linear layer after the encoder; 0: none.
      hidden: widths of the discriminator's hidden layers.
      dropout: rate in the discriminator.
    """

    def adapt_encoder(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        source, _ = model.encode(
            _source_variables(variables),
            batch.source.image[None],
            (SOURCE,),
            train=False,
        )
        unlabeled, variables = _forward.encode_stream(
            model, variables, batch, "unlabeled", key
        )

        def discriminate(
            name: str,
            features: Features,
            variables: Variables,
            reverse: jax.Array | None = None,
        ) -> jax.Array:
            drop = keys.key(key, name)
            return model.head(
                variables, "discriminator", features, reverse=reverse, key=drop
            )

        constant = jax.lax.stop_gradient(unlabeled)
        source_logits = discriminate("source", source, variables)
        if form == "inverted":
            target_logits = discriminate("unlabeled", constant, variables)
            frozen = _freeze(variables, "discriminator")
            mapping = mapping_loss(discriminate("unlabeled", unlabeled, frozen))
        else:
            strength = reversal * ops.adaptation(progress)
            target_logits = discriminate("unlabeled", unlabeled, variables, strength)
            mapping = jnp.zeros(())
        domain = discriminator_loss(source_logits, target_logits)
        metrics = {"domain_loss": domain, "mapping_loss": mapping}
        loss = domain + mapping
        if batch.target is not None:
            target, variables = _forward.encode_stream(
                model, variables, batch, "target", key
            )
            logits = _forward.classify(model, variables, target, key)
            supervised = ops.cross_entropy(logits[0], batch.target.label)
            loss, metrics["cross_entropy"] = loss + supervised, supervised
        return loss, (variables, metrics)

    modules = {
        **heads.bottleneck(bottleneck),
        "classifier": heads.Linear(num_classes, initial="xavier"),
        "discriminator": heads.Discriminator(1, hidden=hidden, dropout=dropout),
    }
    return Method(modules, (adapt_encoder,), prepare, adapts_trained=True)


def prepare(variables: Variables) -> Variables:
    """Copies the encoder of the first stage to the entry SOURCE_ENCODER of params."""
    names = [name for name in ("encoder", heads.BOTTLENECK) if name in variables.params]
    encoder = {
        "params": {name: variables.params[name] for name in names},
        "norm": variables.norm,
        "stats": variables.stats,
    }
    # A copy, because the training step donates its arguments: none may occur twice.
    encoder = jax.tree.map(jnp.copy, encoder)
    return variables._replace(params=variables.params | {SOURCE_ENCODER: encoder})


def discriminator_loss(source: jax.Array, target: jax.Array) -> jax.Array:
    """(E BCE(D(s), 1) + E BCE(D(t), 0)) / 2, float32[] (equation 7).

    Args:
      source: D(s), float32[...], logits.
      target: D(t), float32[...], logits.
    """
    source_loss = ops.binary_cross_entropy(source, 1.0)
    return 0.5 * (source_loss.mean() + ops.binary_cross_entropy(target, 0.0).mean())


def mapping_loss(target: jax.Array) -> jax.Array:
    """E BCE(D(t), 1), with the inverted label; float32[] (equation 8).

    Args:
      target: D(t), float32[...], logits.
    """
    return ops.binary_cross_entropy(target, 1.0).mean()


def _source_variables(variables: Variables) -> Variables:
    """The frozen encoder of the first stage, without gradient."""
    encoder = jax.lax.stop_gradient(variables.params[SOURCE_ENCODER])
    return Variables(encoder["params"], encoder["norm"], encoder["stats"])


def _freeze(variables: Variables, name: str) -> Variables:
    """The same variables, where one entry of params gets no gradient."""
    frozen = jax.lax.stop_gradient(variables.params[name])
    return variables._replace(params=variables.params | {name: frozen})
