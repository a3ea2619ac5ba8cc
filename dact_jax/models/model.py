"""The whole network as three pure functions, with one row of norm per domain.

An encoder is a flax module that knows no domains: `__call__(images, *, train)` maps
float32[B, h, w, C] to (embedding float32[B, F], taps). All streams of a call pass it
as one batch; only its `norm.BatchNorm` layers tell them apart, by the rows of terms
that they are given. It may `sow` its stages' maps, in order, as "maps" in the
collection "intermediates".
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import keys
from dact_jax.models.heads import BOTTLENECK, SEEN
from dact_jax.types import Features, Key, Model, Variables

ENCODER = "encoder"

Heads = Mapping[str, nn.Module]


def make_model(
    encoder: nn.Module, heads: Heads, num_norms: int, *, shared_affine: bool = False
) -> Model:
    """The functions of an encoder with heads.

    Args:
      encoder: maps images to (embedding, taps), as the module's docstring says.
      heads: name -> module with the interface of `heads.py`. One named "bottleneck"
        makes the embedding that all others see. One that reads another (`on`, in
        place of the embedding, or `beside` it) comes after it.
      num_norms: D, rows of batch-norm terms. 1: the streams of a call share moments
        and terms; more: each stream has those of its domain (DSBN, Chang et al. 2019).
      shared_affine: one row of scale and bias for all domains, whose moments alone
        are their own.

    Raises:
      ValueError: a head reads one that does not come before it.
    """
    for place, name in enumerate(heads):
        for read in _reads(heads, name):
            if read is not None and read not in list(heads)[:place]:
                raise ValueError(
                    f"head {name!r} reads {read!r}, which is no head before it"
                )
    rows = (1 if shared_affine else num_norms, num_norms)
    init = functools.partial(_init, encoder, heads, rows)
    return Model(
        jax.jit(init, static_argnums=1),  # computes no features: nothing returns them
        functools.partial(_encode, encoder, heads, num_norms),
        functools.partial(_head, heads),
        functools.partial(_maps, encoder, num_norms),
    )


def _init(
    encoder: nn.Module,
    heads: Heads,
    rows: tuple[int, int],
    key: Key,
    shape: tuple[int, int, int],
) -> Variables:
    images = jnp.zeros((1, *shape))
    tree = encoder.init(keys.key(key, ENCODER), images, train=False)
    norm, stats = (
        jax.tree.map(lambda leaf, n=count: jnp.stack([leaf] * n), tree.get(name, {}))
        for name, count in zip(("norm", "stats"), rows, strict=True)
    )
    params = {ENCODER: tree.get("params", {})}
    variables = Variables(params, norm, stats)

    features = Features(*encoder.apply(tree, images, train=False))
    for name in sorted(heads, key=lambda name: name != BOTTLENECK):
        inputs = _inputs(heads, variables, name, features, None)
        head = heads[name].init(keys.key(key, name), inputs)
        params[name] = head.get("params", {})
        if name == BOTTLENECK:
            narrow = _apply(heads, variables, name, features, train=False, key=None)
            features = features._replace(embedding=narrow)
    return variables


def _encode(
    encoder: nn.Module,
    heads: Heads,
    num_norms: int,
    variables: Variables,
    images: jax.Array,
    domains: tuple[int, ...],
    *,
    train: bool,
    key: Key | None = None,
) -> tuple[Features, Variables]:
    _check(images, domains, num_norms, train)
    rows = np.asarray(domains if num_norms > 1 else [0], np.int32)
    outputs, updated = encoder.apply(
        _of_rows(variables, rows, num_norms),
        _interleave(images),
        train=train,
        mutable=["stats"],
        rngs=_dropout(key, ENCODER),
    )
    features = Features(*jax.tree.map(lambda x: _separate(x, len(images)), outputs))
    if BOTTLENECK in heads:
        narrow = _apply(heads, variables, BOTTLENECK, features, train=train, key=key)
        features = features._replace(embedding=narrow)
    if not train:
        return features, variables
    stats = jax.tree.map(
        lambda leaf, new: leaf.at[rows].set(new),
        variables.stats,
        updated.get("stats", {}),
    )
    return features, variables._replace(stats=stats)


def _maps(
    encoder: nn.Module,
    num_norms: int,
    variables: Variables,
    images: jax.Array,
    domain: int,
) -> tuple[jax.Array, ...]:
    """What the encoder sows under "maps", stage by stage."""
    _check(images[None], (domain,), num_norms, train=False)
    rows = np.asarray([domain if num_norms > 1 else 0], np.int32)
    _, found = encoder.apply(
        _of_rows(variables, rows, num_norms),
        images,
        train=False,
        mutable=["intermediates"],
    )
    return found.get("intermediates", {}).get("maps", ())


def _of_rows(variables: Variables, rows: np.ndarray, num_norms: int) -> dict[str, Any]:
    """The encoder's collections, with these rows of norm: one, or one a stream."""
    stats = jax.tree.map(lambda leaf: leaf[rows], variables.stats)
    norm = jax.tree.map(
        lambda leaf: leaf[rows if len(leaf) == num_norms else 0 * rows], variables.norm
    )
    return {"params": variables.params[ENCODER], "norm": norm, "stats": stats}


def _head(
    heads: Heads,
    variables: Variables,
    name: str,
    features: Features,
    *,
    reverse: jax.Array | float | None = None,
    key: Key | None = None,
) -> jax.Array:
    if name == BOTTLENECK:  # it ran in encode
        return features.embedding
    if name.endswith(f".{SEEN}"):
        return _seen(heads, variables, name.removesuffix(f".{SEEN}"), features)
    inputs = _inputs(heads, variables, name, features, key)
    train = key is not None
    return _apply(heads, variables, name, inputs, train=train, key=key, reverse=reverse)


def _seen(
    heads: Heads, variables: Variables, name: str, features: Features
) -> jax.Array:
    """float32[S, B, ...], what a head's last layer sees, in evaluation mode."""
    sown = {}
    if name != BOTTLENECK:
        inputs = _inputs(heads, variables, name, features, None)
        params = {"params": variables.params[name]}
        _, updated = heads[name].apply(params, inputs, mutable=["intermediates"])
        sown = updated.get("intermediates", {})
    if SEEN not in sown:
        raise ValueError(
            f"head {name!r} ({type(heads[name]).__name__}) has no features: only "
            "Linear, Cosine and TwoLayer say what their last layer sees"
        )
    return sown[SEEN][0]


def _inputs(
    heads: Heads, variables: Variables, name: str, features: Features, key: Key | None
) -> Features:
    """Features with what the head reads in place of the embedding, or beside it."""
    on, beside = (
        None if read is None else _head(heads, variables, read, features, key=key)
        for read in _reads(heads, name)
    )
    embedding = features.embedding if on is None else on
    return features._replace(embedding=embedding, logits=beside)


def _apply(
    heads: Heads,
    variables: Variables,
    name: str,
    inputs: Features,
    *,
    train: bool,
    key: Key | None,
    reverse: jax.Array | float | None = None,
) -> jax.Array:
    return heads[name].apply(  # type: ignore[return-value]
        {"params": variables.params[name]},
        inputs,
        reverse=reverse,
        train=train,
        rngs=_dropout(key, name),
    )


def _reads(heads: Heads, name: str) -> tuple[str | None, str | None]:
    """The heads that one reads in place of the embedding, and beside it."""
    return getattr(heads[name], "on", None), getattr(heads[name], "beside", None)


def _dropout(key: Key | None, name: str) -> dict[str, Key] | None:
    """By name: a head drops the same when called and when another reads it."""
    return None if key is None else {"dropout": keys.key(key, name)}


def _interleave(streams: jax.Array) -> jax.Array:
    """[S, B, ...] -> [B S, ...]: B outermost, so that a sharded B stays sharded."""
    return streams.swapaxes(0, 1).reshape(-1, *streams.shape[2:])


def _separate(batch: jax.Array, streams: int) -> jax.Array:
    """[B S, ...] -> [S, B, ...]."""
    return batch.reshape(-1, streams, *batch.shape[1:]).swapaxes(0, 1)


def _check(
    images: jax.Array, domains: tuple[int, ...], num_norms: int, train: bool
) -> None:
    """Refuses at trace time what indexing would silently get wrong."""
    if images.ndim != 5 or len(domains) != len(images):
        raise ValueError(
            f"{len(domains)} domains need images of shape "
            f"[{len(domains)}, B, h, w, C], not {list(images.shape)}"
        )
    if num_norms == 1:
        return
    if not all(0 <= domain < num_norms for domain in domains):
        raise ValueError(f"domains are {domains}, but there are {num_norms} norm rows")
    if train and len(set(domains)) < len(domains):
        raise ValueError(
            f"domains are {domains}: two streams of one domain would both write its "
            "running moments; join them in one stream"
        )
