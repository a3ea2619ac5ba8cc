"""Sweeps (one forward pass over a pool, in batches of one size) and accuracies."""

from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, Sharding

from dact_jax import devices, errors, vectors
from dact_jax.training import dropout_passes
from dact_jax.types import (
    UNLABELED,
    Array,
    Evidence,
    Examples,
    Forward,
    Images,
    Model,
    Prepare,
    Variables,
)

_EMBEDDING = ""  # the name of the embedding among outputs, which have one


def make_forward(
    model: Model,
    heads: tuple[str, ...],
    prepare: Prepare,
    views: Sequence[Prepare] = (),
) -> Forward:
    """A jitted forward pass in evaluation mode, in float32 however the model trains.

    Args:
      heads: names of the heads whose outputs it returns, or of outputs made of them,
        as "classifier.features" and "classifier.dropout".
      prepare: uint8[B, H, W, C] -> float32[B, h, w, C], without randomness.
      views: further preparations of the same images. With any, the classifier's
        output is the logarithm of the mean softmax over `prepare` and all views; the
        embedding and the other outputs are those of `prepare`.
    """

    model = model.exact or model

    def encode(
        variables: Variables, images: jax.Array, domain: int, prepare: Prepare
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        features, _ = model.encode(
            variables, prepare(images)[None], (domain,), train=False
        )
        outputs = {}
        for name in heads:
            if name == dropout_passes.OUTPUT:
                made = dropout_passes.logits(model, variables, features, images)
            else:
                made = model.head(variables, name, features)[0]
            outputs[name] = made
        return features.embedding[0], outputs

    def forward(
        variables: Variables, images: jax.Array, domain: int
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        embedding, outputs = encode(variables, images, domain, prepare)
        if views:
            logits = [outputs["classifier"]]
            for view in views:
                _, of_view = encode(variables, images, domain, view)
                logits.append(of_view["classifier"])
            p = jax.nn.softmax(jnp.stack(logits)).mean(0)  # [B, K]
            outputs["classifier"] = jnp.log(jnp.maximum(p, 1e-30))
        return embedding, outputs

    return jax.jit(forward, static_argnums=2)


def sweep(
    forward: Forward,
    variables: Variables,
    examples: Examples,
    domain: int,
    *,
    batch_size: int,
    sharding: Sharding | None = None,
) -> Evidence:
    """Embeddings and head outputs of all examples, in their order.

    Args:
      forward: what `make_forward` returns.
      examples: N images; their labels become those of the evidence.
      domain: SOURCE or TARGET, the norm row that normalises.
      batch_size: images per call. The last batch is padded, so that `forward` is
        compiled once.
      sharding: how devices share a batch; None: its rows are split over the devices
        that hold the variables. Of a pool that is not on them, each process reads only
        the rows of its devices.

    Returns:
      Evidence of NumPy arrays on the host.

    Raises:
      DivergedError: an embedding or output is not finite, or an embedding is too long
        for float32 to hold its square, so that no acquisition could rank by it.
    """
    mesh = devices.mesh_of(variables)
    found: dict[str, np.ndarray] = {}  # filled in: joining batches would take twice
    waiting: _Launched | None = None
    for start, images in _padded(examples.image, batch_size, mesh, sharding):
        embedding, outputs = forward(variables, images, domain)
        launched = _Launched(start, {_EMBEDDING: embedding, **outputs})
        if waiting is not None:  # the devices have the next batch to do
            _fetch(waiting, found, len(examples.image))
        waiting = launched
    assert waiting is not None
    _fetch(waiting, found, len(examples.image))
    evidence = Evidence(found.pop(_EMBEDDING), found, np.asarray(examples.label))
    for name, values in {"embedding": evidence.embedding, **found}.items():
        if not np.isfinite(values).all():
            raise errors.DivergedError(
                f"the network's {name} became NaN or infinite; "
                "a smaller train.learning_rate usually helps."
            )
    if not vectors.valid(evidence.embedding).all():
        raise errors.DivergedError(
            "the network's embedding became too large to measure distances; "
            "a smaller train.learning_rate usually helps."
        )
    return evidence


class _Launched(NamedTuple):
    """A batch that the devices work on."""

    start: int  # the first of its rows
    results: dict[str, jax.Array]  # [batch size, ...]


def _fetch(launched: _Launched, found: dict[str, np.ndarray], total: int) -> None:
    """Brings the results of a batch to the host, into arrays of all rows."""
    for name, there in launched.results.items():
        values = devices.whole(there)[: total - launched.start]
        if name not in found:
            found[name] = np.empty((total, *values.shape[1:]), values.dtype)
        found[name][launched.start : launched.start + len(values)] = values


def accuracy(logits: np.ndarray, label: Array, keep: np.ndarray | None = None) -> float:
    """Share of labelled rows whose largest logit is that of their label, in [0, 1].

    Args:
      logits: float32[N, K].
      label: int32[N]; UNLABELED rows do not count.
      keep: bool[N], rows that count; None: all.

    Raises:
      ValueError: no row counts.
    """
    counted = np.asarray(label) != UNLABELED
    if keep is not None:
        counted &= keep
    if not counted.any():
        raise ValueError("accuracy needs at least one labelled row")
    return float(np.mean((logits.argmax(-1) == np.asarray(label))[counted]))


def mean_class_accuracy(
    logits: np.ndarray, label: Array, keep: np.ndarray | None = None
) -> float:
    """The mean of the classes' accuracies, in [0, 1].

    Args:
      logits: float32[N, K].
      label: int32[N]; UNLABELED rows and classes without a row do not count.
      keep: bool[N], rows that count; None: all.

    Raises:
      ValueError: no row counts.
    """
    label = np.asarray(label)
    counted = label != UNLABELED
    if keep is not None:
        counted &= keep
    classes = np.unique(label[counted])
    if not classes.size:
        raise ValueError("accuracy needs at least one labelled row")
    each = [accuracy(logits, label, counted & (label == k)) for k in classes]
    return float(np.mean(each))


@jax.jit
def _rows_of(images: jax.Array, rows: jax.Array) -> jax.Array:
    """One program for each pool, where single operations would be half a dozen."""
    return jnp.take(images, rows, axis=0, mode="clip")


def _padded(
    images: Images | jax.Array, size: int, mesh: Mesh, sharding: Sharding | None
) -> Iterator[tuple[int, jax.Array]]:
    """(its first row, uint8[size, H, W, C] on the devices) of each batch.

    A thread reads the next batch while the current one is used.
    """
    total = len(images)
    local = devices.local_rows(size, mesh)

    def read(start: int) -> np.ndarray | None:
        if isinstance(images, jax.Array):
            return None  # it is there
        rows = start + local
        there = np.asarray(images[rows[rows < total]])
        if not len(there):
            there = np.asarray(images[np.array([total - 1])])
        padding = np.repeat(there[-1:], len(rows) - len(there), axis=0)
        return np.concatenate([there, padding])

    def placed(start: int, batch: np.ndarray | None) -> jax.Array:
        if isinstance(images, jax.Array):
            rows = np.minimum(np.arange(start, start + size), total - 1)
            there = _rows_of(images, rows)
            return jax.device_put(there, sharding or devices.batched(mesh))
        assert batch is not None
        if sharding is not None:
            return jax.device_put(batch, sharding)
        return devices.put_rows(batch, size, mesh)

    with futures.ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(read, 0)
        for start in range(0, total, size):
            batch = upcoming.result()
            if start + size < total:
                upcoming = reader.submit(read, start + size)
            yield start, placed(start, batch)
