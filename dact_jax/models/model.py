"""The whole network as three pure functions; domain-specific norm is a vmap.

An encoder is a flax module that knows no domains: `__call__(images, *, train)` maps
float32[B, h, w, C] to (embedding float32[B, F], taps). Its batch normalisation keeps
its terms in the collections `norm` and `stats`, which get one row per domain here.
"""

import functools
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import keys
from dact_jax.models.heads import BOTTLENECK
from dact_jax.types import Features, Key, Model, PyTree, Variables

ENCODER = "encoder"


def make_model(
    encoder: nn.Module, heads: Mapping[str, nn.Module], num_norms: int
) -> Model:
    """The functions of an encoder with heads.

    Args:
      encoder: maps images to (embedding, taps), as the module's docstring says.
      heads: name -> module with the interface of `heads.py`. One named "bottleneck"
        makes the embedding that all others see. One that reads another (`on`) comes
        after it.
      num_norms: D, rows of batch-norm terms. 1: the streams of a call form one batch
        and share its moments; more: one row per domain (DSBN, Chang et al. 2019).

    Raises:
      ValueError: a head that reads one that does not come before it.
    """
    names = list(heads)
    for place, name in enumerate(names):
        on = getattr(heads[name], "on", None)
        if on is not None and on not in names[:place]:
            raise ValueError(f"head {name!r} reads {on!r}, which is no head before it")

    def init(key: Key, shape: tuple[int, int, int]) -> Variables:
        images = jnp.zeros((1, *shape))
        start = jax.jit(functools.partial(encoder.init, train=False))
        tree = start(keys.key(key, ENCODER), images)
        outputs = jax.eval_shape(
            functools.partial(encoder.apply, train=False), tree, images
        )
        features = Features(
            *jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), outputs)
        )
        norm, stats = (
            jax.tree.map(lambda leaf: jnp.stack([leaf] * num_norms), tree.get(name, {}))
            for name in ("norm", "stats")
        )
        params = {ENCODER: tree.get("params", {})}
        variables = Variables(params, norm, stats)
        for name in sorted(heads, key=lambda name: name != BOTTLENECK):
            inputs = _inputs(variables, name, features, None)
            params[name] = heads[name].init(keys.key(key, name), inputs)["params"]
            if name == BOTTLENECK:
                features = _narrow(variables, features, train=False, key=None)
        return variables

    def encode(
        variables: Variables,
        images: jax.Array,
        domains: tuple[int, ...],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Features, Variables]:
        _check(images, domains, num_norms, train)
        streams, batch = images.shape[:2]
        rows = np.asarray(domains, np.int32)
        if num_norms == 1:
            # Batch axis first: it may be sharded, and the merged axis stays so.
            images = images.swapaxes(0, 1).reshape(1, -1, *images.shape[2:])
            rows = np.zeros(1, np.int32)
        norm, stats = jax.tree.map(
            lambda leaf: leaf[rows], (variables.norm, variables.stats)
        )
        dropout = None
        if train and key is not None:
            dropout = jax.random.split(keys.key(key, ENCODER), len(rows))
        forward = functools.partial(_forward, encoder, train)
        outputs, stats = jax.vmap(forward, (None, 0, 0, 0, 0))(
            variables.params[ENCODER], norm, stats, images, dropout
        )
        if num_norms == 1:
            outputs = jax.tree.map(
                lambda x: x.reshape(batch, streams, *x.shape[2:]).swapaxes(0, 1),
                outputs,
            )
        features = Features(*outputs)
        if BOTTLENECK in heads:
            features = _narrow(variables, features, train=train, key=key)
        if not train:
            return features, variables
        written = jax.tree.map(
            lambda leaf, new: leaf.at[rows].set(new), variables.stats, stats
        )
        return features, variables._replace(stats=written)

    def head(
        variables: Variables,
        name: str,
        features: Features,
        *,
        reverse: jax.Array | float | None = None,
        key: Key | None = None,
    ) -> jax.Array:
        if name == BOTTLENECK:  # it ran in encode
            return features.embedding
        inputs = _inputs(variables, name, features, key)
        return _apply(
            variables, name, inputs, train=key is not None, key=key, reverse=reverse
        )

    def _apply(
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
            # By name: called on its own or by a head that reads it, it drops the same.
            rngs=None if key is None else {"dropout": keys.key(key, name)},
        )

    def _inputs(
        variables: Variables, name: str, features: Features, key: Key | None
    ) -> Features:
        on = getattr(heads[name], "on", None)
        if on is None:
            return features
        return features._replace(embedding=head(variables, on, features, key=key))

    def _narrow(
        variables: Variables, features: Features, *, train: bool, key: Key | None
    ) -> Features:
        narrow = _apply(variables, BOTTLENECK, features, train=train, key=key)
        return features._replace(embedding=narrow)

    return Model(init, encode, head)


def _forward(
    encoder: nn.Module,
    train: bool,
    params: PyTree,
    norm: PyTree,
    stats: PyTree,
    images: jax.Array,
    dropout: Key | None,
) -> tuple[tuple[jax.Array, tuple[jax.Array, ...]], PyTree]:
    """One stream through the encoder with one row of norm terms -> outputs, stats."""
    outputs, updated = encoder.apply(
        {"params": params, "norm": norm, "stats": stats},
        images,
        train=train,
        mutable=["stats"],
        rngs=None if dropout is None else {"dropout": dropout},
    )
    return outputs, updated.get("stats", {})


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
            "running moments; join them in one batch"
        )
