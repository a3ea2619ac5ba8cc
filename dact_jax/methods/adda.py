"""ADDA: adversarial discriminative domain adaptation (Tzeng et al., CVPR 2017)."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from dact_jax import errors, keys, ops
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

FROZEN = "source_encoder"  # the entry of params that holds the first stage's encoder


def make(
    num_classes: int,
    *,
    form: Form = "inverted",
    reversal: float = 2.0,
    bottleneck: int = 0,
    hidden: tuple[int, ...] = (500, 500),
    dropout: float = 0.0,
) -> Method:
    """The second stage: the target's encoder learns to look like the source's.

    The first stage is pre-training on the source (config.pretrain). Its encoder, with
    its running batch-norm moments, stays as it is and embeds the source; a copy
    becomes the target's. The classifier moves only with target labels, if there are.

    Args:
      num_classes: K.
      form: "inverted": discriminator and encoder take one simultaneous step, the
        encoder's on the cross entropy with inverted labels (equations 7 and 8 of the
        paper); "reversal": it gets the discriminator's reversed gradient, times
        `reversal` x lambda (the Transfer-Learning-Library).
      reversal: where the strength of "reversal" ends.
      bottleneck: width of a linear layer behind the encoder; 0: none.
      hidden: widths of the discriminator.
      dropout: rate in it.

    Raises:
      InputError: an unknown form.
    """
    check(form=form)

    def adapt_encoder(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        source, _ = model.encode(
            _frozen(variables), batch.source.image[None], (SOURCE,), train=False
        )
        unlabeled, variables = _forward.stream(
            model, variables, batch, "unlabeled", key
        )

        def discriminate(
            name: str, features: Features, now: Variables, reverse: jax.Array | None
        ) -> jax.Array:
            drop = keys.key(key, name)
            return model.head(now, "discriminator", features, reverse=reverse, key=drop)

        still = jax.lax.stop_gradient(unlabeled)
        of_source = discriminate("source", source, variables, None)
        if form == "inverted":
            of_target = discriminate("unlabeled", still, variables, None)
            fixed = _fix(variables, "discriminator")
            mapped = discriminate("unlabeled", unlabeled, fixed, None)
            mapping = mapping_loss(mapped)
        else:
            strength = reversal * ops.adaptation(progress)
            of_target = discriminate("unlabeled", unlabeled, variables, strength)
            mapping = jnp.zeros(())
        domain = discriminator_loss(of_source, of_target)
        metrics = {"domain_loss": domain, "mapping_loss": mapping}
        loss = domain + mapping
        if batch.target is not None:
            target, variables = _forward.stream(model, variables, batch, "target", key)
            logits = _forward.classify(model, variables, target, key)
            supervised = ops.cross_entropy(logits[0], batch.target.label)
            loss, metrics["cross_entropy"] = loss + supervised, supervised
        return loss, (variables, metrics)

    modules = {
        **heads.bottleneck(bottleneck),
        "classifier": heads.Linear(num_classes, initial="xavier"),
        "discriminator": heads.Discriminator(1, hidden=hidden, dropout=dropout),
    }
    return Method(modules, (adapt_encoder,), prepare)


def check(*, form: str) -> None:
    """Raises InputError if the form is unknown."""
    errors.check_choice("methods.adda.form", form, get_args(Form))


def prepare(variables: Variables) -> Variables:
    """Keeps a copy of the encoder, to be the source's."""
    names = [name for name in ("encoder", heads.BOTTLENECK) if name in variables.params]
    kept = {
        "params": {name: variables.params[name] for name in names},
        "norm": variables.norm,
        "stats": variables.stats,
    }
    copied = jax.tree.map(jnp.copy, kept)  # both are donated to the training step
    return variables._replace(params=variables.params | {FROZEN: copied})


def discriminator_loss(source: jax.Array, target: jax.Array) -> jax.Array:
    """(E BCE(D(s), 1) + E BCE(D(t), 0)) / 2, float32[] (equation 7).

    Args:
      source: float32[...], logits.
      target: float32[...], logits.
    """
    of_source = ops.binary_cross_entropy(source, 1.0)
    return 0.5 * (of_source.mean() + ops.binary_cross_entropy(target, 0.0).mean())


def mapping_loss(target: jax.Array) -> jax.Array:
    """E BCE(D(t), 1): the label is inverted; float32[] (equation 8).

    Args:
      target: float32[...], logits.
    """
    return ops.binary_cross_entropy(target, 1.0).mean()


def _frozen(variables: Variables) -> Variables:
    kept = jax.lax.stop_gradient(variables.params[FROZEN])
    return Variables(kept["params"], kept["norm"], kept["stats"])


def _fix(variables: Variables, name: str) -> Variables:
    """The variables with one entry of params that gets no gradient."""
    fixed = jax.lax.stop_gradient(variables.params[name])
    return variables._replace(params=variables.params | {name: fixed})
