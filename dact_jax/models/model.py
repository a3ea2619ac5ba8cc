"""An encoder and its heads as pure functions, with batch-norm rows by domain.

An encoder is a Flax module without knowledge of domains: `__call__(images, *, train)`
maps float32[B, h, w, C] to (embedding float32[B, F], taps). All streams of a call form
one batch; only the `norm.BatchNorm` layers distinguish them, by the rows of scale, bias
and moments that they receive. An encoder may `sow` the feature maps of its stages, in
order, as "maps" in the collection "intermediates".
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import keys
from dact_jax.models.heads import BOTTLENECK, LAST_INPUT
from dact_jax.types import Features, Key, Model, Variables

ENCODER = "encoder"

Heads = Mapping[str, nn.Module]


def make_model(
    encoder: nn.Module, heads: Heads, num_norms: int, *, shared_affine: bool = False
) -> Model:
    """The functions of an encoder with heads.

    Args:
      encoder: maps images to (embedding, taps), as described in the module docstring.
      heads: name -> module with the interface of `heads.py`. The output of a head
        named "bottleneck" is the embedding that all others read. A head that reads
        another (`on`, `logits_from`) comes after it.
      num_norms: D, number of rows in the batch-norm collections. 1: the streams of a
        call share one row. Otherwise each stream uses the row of its domain (DSBN,
        Chang et al. 2019).
      shared_affine: whether all domains share one row of scale and bias and only the
        moments have D rows.

    Raises:
      ValueError: a head reads one that does not come before it.
    """
    for position, name in enumerate(heads):
        for other in _reads(heads, name):
            if other is not None and other not in list(heads)[:position]:
                raise ValueError(
                    f"head {name!r} reads {other!r}, which must be a head before it"
                )
    rows = (1 if shared_affine else num_norms, num_norms)
    init = functools.partial(_init, encoder, heads, rows)
    return Model(
        jax.jit(init, static_argnums=1),  # jit removes the unused forward pass
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
    outputs, tree = encoder.init_with_output(
        keys.key(key, ENCODER), images, train=False
    )
    norm, stats = (
        jax.tree.map(lambda leaf, n=count: jnp.stack([leaf] * n), tree.get(name, {}))
        for name, count in zip(("norm", "stats"), rows, strict=True)
    )
    params = {ENCODER: tree.get("params", {})}
    variables = Variables(params, norm, stats)

    features = Features(*outputs)
    for name in sorted(heads, key=lambda name: name != BOTTLENECK):
        inputs = _inputs(heads, variables, name, features, None)
        head = heads[name].init(keys.key(key, name), inputs)
        params[name] = head.get("params", {})
        if name == BOTTLENECK:
            embedding = _apply(heads, variables, name, features, train=False, key=None)
            features = features._replace(embedding=embedding)
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
        _encoder_collections(variables, rows, num_norms),
        _interleave(images),
        train=train,
        mutable=["stats"],
        rngs=_dropout(key, ENCODER),
    )
    features = Features(*jax.tree.map(lambda x: _separate(x, len(images)), outputs))
    if BOTTLENECK in heads:
        embedding = _apply(heads, variables, BOTTLENECK, features, train=train, key=key)
        features = features._replace(embedding=embedding)
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
    """What the encoder sows as "maps", stage by stage; () if it sows none."""
    _check(images[None], (domain,), num_norms, train=False)
    rows = np.asarray([domain if num_norms > 1 else 0], np.int32)
    _, sown = encoder.apply(
        _encoder_collections(variables, rows, num_norms),
        images,
        train=False,
        mutable=["intermediates"],
    )
    return sown.get("intermediates", {}).get("maps", ())


def _encoder_collections(
    variables: Variables, rows: np.ndarray, num_norms: int
) -> dict[str, Any]:
    """The encoder's Flax collections, with the given rows of "norm" and "stats".

    Args:
      rows: int32[1], or int32[S] for one row per stream.
    """
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
    if name == BOTTLENECK:  # already applied in encode
        return features.embedding
    if name.endswith(f".{LAST_INPUT}"):
        head = name.removesuffix(f".{LAST_INPUT}")
        return _last_input(heads, variables, head, features)
    inputs = _inputs(heads, variables, name, features, key)
    train = key is not None
    return _apply(heads, variables, name, inputs, train=train, key=key, reverse=reverse)


def _last_input(
    heads: Heads, variables: Variables, name: str, features: Features
) -> jax.Array:
    """float32[S, B, ...], the input of a head's last layer, in evaluation mode."""
    sown = {}
    if name != BOTTLENECK:
        inputs = _inputs(heads, variables, name, features, None)
        params = {"params": variables.params[name]}
        _, updated = heads[name].apply(params, inputs, mutable=["intermediates"])
        sown = updated.get("intermediates", {})
    if LAST_INPUT not in sown:
        raise ValueError(
            f"head {name!r} ({type(heads[name]).__name__}) has no features: use a "
            "Linear, Cosine or TwoLayer head"
        )
    return sown[LAST_INPUT][0]


def _inputs(
    heads: Heads, variables: Variables, name: str, features: Features, key: Key | None
) -> Features:
    """Features with the outputs of `on` and `logits_from` filled in."""
    embedding, logits = (
        None if other is None else _head(heads, variables, other, features, key=key)
        for other in _reads(heads, name)
    )
    if embedding is None:
        embedding = features.embedding
    return features._replace(embedding=embedding, logits=logits)


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
    """Names of the heads whose output replaces the embedding, or is the logits."""
    head = heads[name]
    return getattr(head, "on", None), getattr(head, "logits_from", None)


def _dropout(key: Key | None, name: str) -> dict[str, Key] | None:
    """Keyed by head: its dropout mask is the same when another head reads it."""
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
    """Raises at trace time where indexing would silently use wrong rows."""
    if images.ndim != 5 or len(domains) != len(images):
        raise ValueError(
            f"images must have the shape [{len(domains)}, B, h, w, C] for "
            f"{len(domains)} domains, not {list(images.shape)}"
        )
    if num_norms == 1:
        return
    if not all(0 <= domain < num_norms for domain in domains):
        raise ValueError(
            f"domains={domains} must lie in [0, num_norms), and num_norms={num_norms}"
        )
    if train and len(set(domains)) < len(domains):
        raise ValueError(
            f"domains={domains} must be distinct in training, since each stream "
            "updates the running moments of its domain: join the streams of a domain"
        )
