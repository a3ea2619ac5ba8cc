"""The outputs of heads, with the outputs that they read, in a network's precision."""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax

from dact_jax import keys
from dact_jax.models import precisions
from dact_jax.models.heads import BOTTLENECK, LAST_INPUT
from dact_jax.models.precisions import Precision
from dact_jax.types import Features, Key, Variables

Heads = Mapping[str, nn.Module]


class Network(NamedTuple):
    """What `model.make_model` was given."""

    encoder: nn.Module
    heads: Heads
    num_norms: int
    precision: Precision


def head(
    network: Network,
    variables: Variables,
    name: str,
    features: Features,
    *,
    reverse: jax.Array | float | None = None,
    key: Key | None = None,
) -> jax.Array:
    """float32[S, B, ...], as `types.Head` describes it."""
    if name == BOTTLENECK:  # already applied in encode
        return features.embedding
    if name.endswith(f".{LAST_INPUT}"):
        inner = name.removesuffix(f".{LAST_INPUT}")
        return _last_input(network, variables, inner, features)
    given = inputs(network, variables, name, features, key)
    train = key is not None
    return apply(network, variables, name, given, train=train, key=key, reverse=reverse)


def inputs(
    network: Network,
    variables: Variables,
    name: str,
    features: Features,
    key: Key | None,
) -> Features:
    """Features with the outputs of `on` and `logits_from` filled in."""
    embedding, logits = (
        None if other is None else head(network, variables, other, features, key=key)
        for other in reads(network.heads, name)
    )
    if embedding is None:
        embedding = features.embedding
    return features._replace(embedding=embedding, logits=logits)


def apply(
    network: Network,
    variables: Variables,
    name: str,
    given: Features,
    *,
    train: bool,
    key: Key | None,
    reverse: jax.Array | float | None = None,
) -> jax.Array:
    """A head on its inputs, float32[S, B, ...]."""
    params = precisions.cast_kernels(variables.params[name], network.precision)
    with precisions.products(network.precision):
        output = network.heads[name].apply(
            {"params": params},
            given,
            reverse=reverse,
            train=train,
            rngs=dropout(key, name),
        )
    return precisions.cast(output, "float32")


def reads(heads: Heads, name: str) -> tuple[str | None, str | None]:
    """Names of the heads whose output replaces the embedding, or is the logits."""
    module = heads[name]
    return getattr(module, "on", None), getattr(module, "logits_from", None)


def dropout(key: Key | None, name: str) -> dict[str, Key] | None:
    """Keyed by head: its dropout mask is the same when another head reads it."""
    return None if key is None else {"dropout": keys.key(key, name)}


def _last_input(
    network: Network, variables: Variables, name: str, features: Features
) -> jax.Array:
    """float32[S, B, ...], the input of a head's last layer, in evaluation mode."""
    module, sown = network.heads[name], {}
    if name != BOTTLENECK:
        given = inputs(network, variables, name, features, None)
        params = precisions.cast_kernels(variables.params[name], network.precision)
        with precisions.products(network.precision):
            _, updated = module.apply(
                {"params": params}, given, mutable=["intermediates"]
            )
        sown = updated.get("intermediates", {})
    if LAST_INPUT not in sown:
        raise ValueError(
            f"head {name!r} ({type(module).__name__}) has no features: use a "
            "Linear, Cosine or TwoLayer head"
        )
    return sown[LAST_INPUT][0]
