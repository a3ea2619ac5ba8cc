"""The batches of a round, from any position, whether pools are on the device or not.

A batch is *drawn* on the host: row numbers of a pool that lies on the device, or
decoded images of one that does not. `load`, inside the jitted step, turns either
into the same network input.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors, keys
from dact_jax.data.order import order
from dact_jax.types import (
    UNLABELED,
    Array,
    Batch,
    BatchSizes,
    Examples,
    Images,
    Key,
    Pools,
    Task,
)

READ_AHEAD = 4  # batches that grain holds ready
MAX_STEPS = 2**31 - 1


class Resident(NamedTuple):
    """The pools that lie on the device, as stored; None for the others."""

    source: jax.Array | None
    target: jax.Array | None
    unlabeled: jax.Array | None


def place(examples: Examples, limit_bytes: int) -> Examples:
    """The examples with their images on the device, decoded once, if they fit.

    Args:
      examples: image uint8[N, H, W, C], an array or files; or float32[N, 1, 1, F].
      limit_bytes: the most that this pool may take.

    Returns:
      image as a jax.Array; or `examples` as they came where they are larger.
    """
    images = examples.image
    size = np.prod(images.shape, dtype=np.int64) * np.dtype(images.dtype).itemsize
    if size > limit_bytes:
        return examples
    return examples._replace(image=jnp.asarray(images[:]))


def place_task(task: Task, limit_bytes: int, sharding: jax.sharding.Sharding) -> Task:
    """The task with every part on the devices that fits; parts that are one stay one.

    Args:
      task: as read.
      limit_bytes: the most that one part may take.
      sharding: how the devices hold it.
    """
    placed: dict[int, Examples] = {}

    def put(part: Examples) -> Examples:
        if id(part) not in placed:
            small = place(part, limit_bytes)
            if isinstance(small.image, jax.Array):
                small = small._replace(image=jax.device_put(small.image, sharding))
            placed[id(part)] = small
        return placed[id(part)]

    source, target = (
        domain._replace(
            train=put(domain.train), val=put(domain.val), test=put(domain.test)
        )
        for domain in (task.source, task.target)
    )
    unlabeled = None if task.unlabeled is None else put(task.unlabeled)
    return Task(source, target, task.class_names, unlabeled)


def resident(task: Task) -> Resident:
    """What `load` gathers from: an argument of the jitted step, not a constant."""
    source, target = _device(task.source.train.image), _device(task.target.train.image)
    if task.unlabeled is None:
        return Resident(source, target, target)
    return Resident(source, target, _device(task.unlabeled.image))


def batches(
    task: Task,
    pools: Pools,
    label: np.ndarray,
    sizes: BatchSizes,
    key: Key,
    start: int,
) -> Iterator[Batch]:
    """Drawn batches from iteration `start` on, without end.

    Batch i is a function of everything but `start`, so a resumed run equals an
    uninterrupted one. Each stream runs through epochs of its own. Where source or
    labelled target rows are fewer than their batch, the surplus repeats images
    under the label UNLABELED, so they carry no supervised loss.

    Args:
      task: pools, placed or not.
      pools: the source rows in use and the labelled target rows.
      label: int32[N_t], target labels bought so far.
      sizes: of the three streams; target 0 turns labelled target batches off,
        unlabeled 0 the unlabelled ones.
      key: of the round.
      start: iterations already done.

    Yields:
      Batches whose images are int32[B] rows of a pool on the device, or
      stored images [B, H, W, C] of one that is not.

    Raises:
      InputError: no source image in use, or no unlabelled target image left.
    """
    draw = _drawer(task, pools, label, sizes, key)
    lazy = not all(isinstance(images, jax.Array) for images in _pools(task))
    return _read_ahead(draw, start) if lazy else map(draw, itertools.count(start))


def load(
    pools: Resident,
    drawn: Batch,
    key: Key,
    transform: Callable[[jax.Array, Key], jax.Array],
) -> Batch:
    """A drawn batch as network input; traced inside the step.

    Args:
      pools: `resident(task)`.
      drawn: from `batches`.
      key: of this iteration; each stream gets its own part.
      transform: uint8[B, H, W, C], key -> float32[B, h, w, C].
    """

    def images(pool: jax.Array | None, drawn: Array, name: str) -> jax.Array:
        if drawn.ndim == 1:
            assert pool is not None
            drawn = jnp.take(pool, drawn, axis=0, mode="clip")
        return transform(jnp.asarray(drawn), keys.key(key, name))

    source, target = drawn.source, drawn.target
    source = source._replace(image=images(pools.source, source.image, "source"))
    if target is not None:
        target = target._replace(image=images(pools.target, target.image, "target"))
    rest = drawn.unlabeled
    if rest is not None:
        rest = images(pools.unlabeled, rest, "unlabeled")
    return Batch(source, target, rest)


def chunk(drawn: Iterator[Batch], count: int) -> Batch:
    """The next `count` drawn batches, stacked along a new leading axis for a scan."""
    some = list(itertools.islice(drawn, count))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *some)


def _drawer(
    task: Task, pools: Pools, label: np.ndarray, sizes: BatchSizes, key: Key
) -> Callable[[int], Batch]:
    """Iteration -> drawn batch."""
    source, target = task.source.train, task.target.train
    sources, targets = np.flatnonzero(pools.source), np.flatnonzero(pools.target)
    pool, rest = target.image, np.flatnonzero(~pools.target)
    if task.unlabeled is not None:
        pool, rest = task.unlabeled.image, np.arange(len(task.unlabeled.label))
    if not len(sources):
        raise errors.InputError("no source image is in use: the source pool is empty")
    if sizes.unlabeled and not len(rest):
        raise errors.InputError(
            f"no unlabelled image of {task.target.name} is left: lower the budget"
        )
    source_rows = order(sources, sizes.source, _seed(key, "source"))
    rest_rows = target_rows = None
    if sizes.unlabeled:
        rest_rows = order(rest, sizes.unlabeled, _seed(key, "unlabeled"))
    if sizes.target and len(targets):
        target_rows = order(targets, sizes.target, _seed(key, "target"))

    def draw(step: int) -> Batch:
        labelled = None
        if target_rows is not None:
            labelled = _examples(target.image, label, target_rows(step), len(targets))
        return Batch(
            _examples(source.image, source.label, source_rows(step), len(sources)),
            labelled,
            None if rest_rows is None else _image(pool, rest_rows(step)),
        )

    return draw


def _examples(
    images: Images, label: Array, rows: np.ndarray, pool_size: int
) -> Examples:
    """Drawn examples; rows beyond the first pool_size are repeats without label."""
    chosen = np.asarray(label)[rows].astype(np.int32)
    chosen[pool_size:] = UNLABELED
    return Examples(_image(images, rows), chosen)


def _image(images: Images, rows: np.ndarray) -> np.ndarray:
    if isinstance(images, jax.Array):
        return rows.astype(np.int32)
    return images[rows]


def _read_ahead(draw: Callable[[int], Batch], start: int) -> Iterator[Batch]:
    """draw(start), draw(start + 1), ... made by threads ahead of their use."""
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=READ_AHEAD)
    steps = grain.MapDataset.range(start, MAX_STEPS).map(draw)
    with contextlib.closing(iter(steps.to_iter_dataset(options))) as iterator:
        yield from iterator


def _pools(task: Task) -> list[Images]:
    parts = [task.source.train, task.target.train, task.unlabeled]
    return [part.image for part in parts if part is not None]


def _device(images: Images) -> jax.Array | None:
    return images if isinstance(images, jax.Array) else None


def _seed(key: Key, name: str) -> list[int]:
    return np.asarray(jax.random.key_data(keys.key(key, name))).tolist()
