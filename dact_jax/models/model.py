"""An encoder and its heads as pure functions, with batch-norm rows by domain.

An encoder is a Flax module without knowledge of domains: `__call__(images, *, train)`
maps float[B, h, w, C] to (embedding float[B, F], taps), in the dtype of its images. All
streams of a call form one batch; only the `norm.BatchNorm` layers distinguish them, by
the rows of scale, bias and moments that they receive. An encoder may `sow` the feature
maps of its stages, in order, as "maps" in the collection "intermediates".
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import keys
from dact_jax.models import head_outputs, precisions
from dact_jax.models.head_outputs import Heads, Network
from dact_jax.models.heads import BOTTLENECK
from dact_jax.models.precisions import Precision
from dact_jax.types import METHOD, Features, Key, Model, PyTree, Variables

ENCODER = "encoder"


def make_model(
    encoder: nn.Module,
    heads: Heads,
    num_norms: int,
    *,
    shared_affine: bool = False,
    precision: Precision = "float32",
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
      precision: of products and activations, see `precisions.py`. The same network in
        float32 is the model's `exact`.

    Raises:
      ValueError: a head reads one that does not come before it.
    """
    for position, name in enumerate(heads):
        for other in head_outputs.reads(heads, name):
            if other is not None and other not in list(heads)[:position]:
                raise ValueError(
                    f"head {name!r} reads {other!r}, which must be a head before it"
                )
    rows = (1 if shared_affine else num_norms, num_norms)
    exact = Network(encoder, heads, num_norms, "float32")
    model = Model(
        # jit removes the unused forward pass
        jax.jit(functools.partial(_init, exact, rows), static_argnums=1),
        functools.partial(_encode, exact),
        functools.partial(head_outputs.head, exact),
        functools.partial(_maps, exact),
    )
    if precision == "float32":
        return model
    network = exact._replace(precision=precision)
    return model._replace(
        encode=functools.partial(_encode, network),
        head=functools.partial(head_outputs.head, network),
        exact=model,
    )


def _init(
    network: Network,
    rows: tuple[int, int],
    key: Key,
    shape: tuple[int, int, int],
) -> Variables:
    heads, images = network.heads, jnp.zeros((1, *shape))
    outputs, tree = network.encoder.init_with_output(
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
        inputs = head_outputs.inputs(network, variables, name, features, None)
        head = heads[name].init(keys.key(key, name), inputs)
        params[name] = head.get("params", {})
        if name == BOTTLENECK:
            embedding = head_outputs.apply(
                network, variables, name, features, train=False, key=None
            )
            features = features._replace(embedding=embedding)
    return variables


def _encode(
    network: Network,
    variables: Variables,
    images: jax.Array,
    domains: tuple[int, ...],
    *,
    train: bool,
    key: Key | None = None,
) -> tuple[Features, Variables]:
    _check(images, domains, network.num_norms, train)
    rows = np.asarray(domains if network.num_norms > 1 else [0], np.int32)
    with precisions.products(network.precision):
        outputs, updated = network.encoder.apply(
            _encoder_collections(network, variables, rows),
            _interleave(images).astype(network.precision),
            train=train,
            mutable=["stats"],
            rngs=head_outputs.dropout(key, ENCODER),
        )
    outputs = precisions.cast(outputs, "float32")
    features = Features(*jax.tree.map(lambda x: _separate(x, len(images)), outputs))
    if BOTTLENECK in network.heads:
        embedding = head_outputs.apply(
            network, variables, BOTTLENECK, features, train=train, key=key
        )
        features = features._replace(embedding=embedding)
    if not train:
        return features, variables
    stats = jax.tree.map(
        lambda leaf, new: leaf.at[rows].set(new),
        encoder_stats(variables.stats),
        updated.get("stats", {}),
    )
    return features, variables._replace(stats={**variables.stats, **stats})


def encoder_stats(stats: PyTree) -> PyTree:
    """`Variables.stats` without what a method keeps there."""
    return {name: entry for name, entry in stats.items() if name != METHOD}


def _maps(
    network: Network,
    variables: Variables,
    images: jax.Array,
    domain: int,
) -> tuple[jax.Array, ...]:
    """What the encoder sows as "maps", stage by stage; () if it sows none."""
    _check(images[None], (domain,), network.num_norms, train=False)
    rows = np.asarray([domain if network.num_norms > 1 else 0], np.int32)
    with precisions.products(network.precision):
        _, sown = network.encoder.apply(
            _encoder_collections(network, variables, rows),
            images,
            train=False,
            mutable=["intermediates"],
        )
    return sown.get("intermediates", {}).get("maps", ())


def _encoder_collections(
    network: Network, variables: Variables, rows: np.ndarray
) -> dict[str, Any]:
    """The encoder's Flax collections, with the given rows of "norm" and "stats".

    Args:
      rows: int32[1], or int32[S] for one row per stream.
    """
    stats = jax.tree.map(lambda leaf: leaf[rows], encoder_stats(variables.stats))
    norm = jax.tree.map(
        lambda leaf: leaf[rows if len(leaf) == network.num_norms else 0 * rows],
        variables.norm,
    )
    params = precisions.cast(variables.params[ENCODER], network.precision)
    return {"params": params, "norm": norm, "stats": stats}


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
