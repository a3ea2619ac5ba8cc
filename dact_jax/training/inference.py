"""sweep: every image of a pool through the network, in batches of one fixed size."""

from collections.abc import Iterator, Sequence
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors
from dact_jax.types import (
    UNLABELED,
    Array,
    Evidence,
    Examples,
    Forward,
    Model,
    Prepare,
    Variables,
)


def make_forward(
    model: Model,
    heads: tuple[str, ...],
    prepare: Prepare,
    views: Sequence[Prepare] = (),
) -> Forward:
    """A jitted forward pass in evaluation mode.

    Args:
      model: the network.
      heads: names of the heads whose outputs are wanted.
      prepare: uint8[B, H, W, C] -> float32[B, h, w, C], without randomness.
      views: further ones. With any, the classifier's output is the logarithm of its
        mean softmax over all; embedding and other outputs are those of `prepare`.
    """

    def one(
        variables: Variables, images: jax.Array, domain: int, prepare: Prepare
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        features, _ = model.encode(
            variables, prepare(images)[None], (domain,), train=False
        )
        outputs = {name: model.head(variables, name, features)[0] for name in heads}
        return features.embedding[0], outputs

    def forward(
        variables: Variables, images: jax.Array, domain: int
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        embedding, outputs = one(variables, images, domain, prepare)
        if views:
            seen = [outputs["classifier"]]
            for view in views:
                seen.append(one(variables, images, domain, view)[1]["classifier"])
            p = jax.nn.softmax(jnp.stack(seen)).mean(0)  # [B, K]
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
    sharding: jax.sharding.Sharding,
) -> Evidence:
    """Embeddings and head outputs of all examples.

    Args:
      forward: of `make_forward`.
      variables: the network's.
      examples: N of them; their labels are handed through.
      domain: SOURCE or TARGET: which norm row normalises.
      batch_size: images a call; the last batch is padded, so one program serves.
      sharding: how the devices split a batch.

    Returns:
      Evidence of numpy arrays on the host, in the examples' order.

    Raises:
      DivergedError: an embedding or output is not finite.
    """
    embeddings, outputs = [], []
    for count, images in _padded(examples.image, batch_size):
        images = jax.device_put(images, sharding)
        embedding, output = forward(variables, images, domain)
        embeddings.append(np.asarray(embedding)[:count])
        outputs.append({name: np.asarray(out)[:count] for name, out in output.items()})
    joined = {
        name: np.concatenate([output[name] for output in outputs])
        for name in outputs[0]
    }
    found = Evidence(np.concatenate(embeddings), joined, np.asarray(examples.label))
    for name, values in {"embedding": found.embedding, **joined}.items():
        if not np.isfinite(values).all():
            raise errors.DivergedError(
                f"the network's {name} became NaN or infinite; "
                "a smaller train.learning_rate usually helps."
            )
    return found


def accuracy(logits: np.ndarray, label: Array, keep: np.ndarray | None = None) -> float:
    """Share of labelled rows whose largest logit is their label, in [0, 1].

    Args:
      logits: float32[N, K].
      label: int32[N]; UNLABELED rows do not count.
      keep: bool[N]; rows that count (all if None).

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
    """The mean over classes of each one's accuracy, in [0, 1].

    Args:
      logits: float32[N, K].
      label: int32[N]; UNLABELED rows do not count, nor classes without a row.
      keep: bool[N]; rows that count (all if None).

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


def _padded(images: object, size: int) -> Iterator[tuple[int, Array]]:
    """(rows that count, uint8[size, H, W, C]); the next batch is read meanwhile."""
    total = len(images)  # type: ignore[arg-type]
    starts = range(0, total, size)

    def read(start: int) -> tuple[int, Array]:
        rows = np.arange(start, start + size)
        count = min(size, total - start)
        rows = np.minimum(rows, total - 1)  # padding repeats the last image
        if isinstance(images, jax.Array):
            return count, jnp.take(images, rows, axis=0)
        return count, images[rows]  # type: ignore[index]

    with futures.ThreadPoolExecutor(1) as reader:
        ahead = None
        for start in starts:
            now = ahead or reader.submit(read, start)
            follows = start + size
            ahead = reader.submit(read, follows) if follows < total else None
            yield now.result()
