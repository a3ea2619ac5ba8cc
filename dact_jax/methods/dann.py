"""DANN: domain-adversarial training (Ganin et al., JMLR 2016)."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from dact_jax import errors, keys, ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import Batch, Key, Method, Metrics, Model, Variables

PROVIDES = ("discriminator",)  # a logit of the domain, for acquisitions

Form = Literal["cdan", "tll"]


def make(
    num_classes: int,
    *,
    form: Form = "cdan",
    weight: float = 1.0,
    reversal_lead: float = 1e-4,
    bottleneck: int = 0,
    hidden: int = 1024,
    dropout: float = 0.5,
) -> Method:
    """Cross entropy on labels + the domain discriminator's loss, its gradient reversed.

    The encoder gets it times -lambda = -(2 / (1 + exp(-10 progress)) - 1).

    Args:
      num_classes: K.
      form: "cdan": the mean over all samples of both domains, which pass the network
        apart (DANN in the repositories of CDAN and ALDA); "tll": the mean of the two
        domains' means, both in one forward pass (the Transfer-Learning-Library).
      weight: of the discriminator's loss.
      reversal_lead: how far, in progress, the reversal's schedule runs ahead: CDAN's
        code counts the iteration that is going on, of 10 000. Not used by "tll".
      bottleneck: width of a linear layer behind the encoder; 0: none.
      hidden: width of both hidden layers of the discriminator.
      dropout: rate in it.

    Raises:
      InputError: an unknown form.
    """
    check(form=form)
    lead = reversal_lead if form == "cdan" else 0.0

    def domain_adversarial(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        passes, variables = _forward.streams(
            model, variables, batch, key, joint=form == "tll"
        )
        supervised = _forward.supervised_loss(model, variables, passes, batch, key)
        source, target = (
            model.head(
                variables,
                "discriminator",
                getattr(passes, name),
                reverse=ops.adaptation(progress + lead),
                key=keys.key(key, name),
            )
            for name in ("source", "unlabeled")
        )
        domain = domain_loss(source, target, form)
        metrics = {
            "cross_entropy": supervised,
            "domain_loss": domain,
            "domain_accuracy": jnp.mean(
                jnp.concatenate([source > 0, target <= 0], 1).astype(jnp.float32)
            ),
        }
        return supervised + weight * domain, (variables, metrics)

    modules = {
        **heads.bottleneck(bottleneck),
        "classifier": heads.Linear(num_classes, initial="xavier"),
        "discriminator": heads.Discriminator(
            1, hidden=(hidden, hidden), dropout=dropout
        ),
    }
    return Method(modules, (domain_adversarial,))


def check(*, form: str) -> None:
    """Raises InputError if the form is unknown."""
    errors.check_choice("methods.dann.form", form, get_args(Form))


def domain_loss(source: jax.Array, target: jax.Array, form: Form) -> jax.Array:
    """Binary cross entropy of the domains, source 1 and target 0; float32[].

    Args:
      source: float32[..., B_s, 1], logits.
      target: float32[..., B_t, 1], logits.
      form: which mean, as in `make`.
    """
    of_source = ops.binary_cross_entropy(source, 1.0)
    of_target = ops.binary_cross_entropy(target, 0.0)
    if form == "tll":
        return 0.5 * (of_source.mean() + of_target.mean())
    return (of_source.sum() + of_target.sum()) / (of_source.size + of_target.size)
