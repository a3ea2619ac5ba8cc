"""DANN: domain-adversarial training (Ganin et al., JMLR 2016)."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from dact_jax import keys, kinds, ops
from dact_jax.methods import _forward
from dact_jax.models import heads
from dact_jax.types import Batch, Features, Key, Method, Metrics, Model, Variables

PROVIDES = ("discriminator",)  # a logit of the domain, for acquisitions

Form = Literal["cdan", "tll"]


OPTIONS = {
    "form": kinds.Option(kinds.choice(*get_args(Form)), "whose code it follows"),
    "weight": kinds.Option(kinds.real(), "weight of the domain loss"),
    "reversal_lead": kinds.Option(kinds.real(0, 1), "progress that reversal is ahead"),
    "bottleneck": kinds.Option(kinds.whole(0, 65536), "units of that layer; 0: none"),
    "hidden": kinds.Option(kinds.width(), "units of a layer of the discriminator"),
    "dropout": kinds.Option(kinds.rate(), "rate in the discriminator"),
}


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
    """One gradient step an iteration on CE(labels) + weight L_D.

    L_D is the loss of a domain discriminator. Its gradient into the encoder is
    multiplied by -lambda, lambda = 2 / (1 + exp(-10 progress)) - 1.

    Args:
      form: "cdan": L_D is the mean over the samples of both domains, which are
        encoded in separate passes (DANN in the repositories of CDAN and ALDA);
        "tll": L_D is the mean of the two domains' means, and both are encoded in one
        pass (the Transfer-Learning-Library).
      weight: of L_D.
      reversal_lead: added to progress in lambda, because CDAN's code counts the
        current one of 10 000 iterations as done. "tll" does not use it.
      bottleneck: width of a linear layer after the encoder; 0: none.
      hidden: width of both hidden layers of the discriminator.
      dropout: rate in the discriminator.
    """
    lead = reversal_lead if form == "cdan" else 0.0

    def domain_adversarial(
        model: Model, variables: Variables, batch: Batch, key: Key, progress: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Metrics]]:
        streams, variables = _forward.encode_streams(
            model, variables, batch, key, joint=form == "tll"
        )
        supervised = _forward.supervised_loss(model, variables, streams, batch, key)

        def discriminate(name: str, features: Features) -> jax.Array:
            return model.head(
                variables,
                "discriminator",
                features,
                reverse=ops.adaptation(progress + lead),
                key=keys.key(key, name),
            )

        source = discriminate("source", streams.source)  # [1, B_s, 1]
        target = discriminate("unlabeled", streams.unlabeled)  # [1, B_t, 1]
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


def domain_loss(source: jax.Array, target: jax.Array, form: Form) -> jax.Array:
    """L_D: binary cross entropy of the domains, float32[].

    Args:
      source: float32[..., B_s, 1], logits; their label is 1.
      target: float32[..., B_t, 1], logits; their label is 0.
      form: which mean, as in `make`.
    """
    source_loss = ops.binary_cross_entropy(source, 1.0)
    target_loss = ops.binary_cross_entropy(target, 0.0)
    if form == "tll":
        return 0.5 * (source_loss.mean() + target_loss.mean())
    count = source_loss.size + target_loss.size
    return (source_loss.sum() + target_loss.sum()) / count
