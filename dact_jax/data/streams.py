"""The batches of a round, from any iteration, with pools on the device or on disk.

The host *draws* a batch: row numbers of a pool on the device, or decoded images of
any other pool. `load`, inside the jitted step, turns both into the same network input.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors, keys
from dact_jax.data.order import order
from dact_jax.types import (
    SKIPPED,
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

READ_AHEAD = 4  # batches that grain decodes ahead of their use
MAX_STEPS = 2**31 - 1

Local = Callable[[int], np.ndarray]


class Resident(NamedTuple):
    """The pools that are on the device, as stored; None for the others."""

    source: jax.Array | None
    target: jax.Array | None
    unlabeled: jax.Array | None


def place(examples: Examples, limit_bytes: int) -> Examples:
    """Decodes images and moves them to the device, unless they exceed limit_bytes.

    Args:
      examples: image is uint8[N, H, W, C], an array or files, or float32[N, 1, 1, F].
      limit_bytes: largest size of this pool on the device.

    Returns:
      The examples with image as a jax.Array, or `examples` itself if it is too large.
    """
    images = examples.image
    size = np.prod(images.shape, dtype=np.int64) * np.dtype(images.dtype).itemsize
    if size > limit_bytes:
        return examples
    return examples._replace(image=jnp.asarray(images[:]))


def place_task(
    task: Task, limit_bytes: int, lay_out: Callable[[jax.Array], jax.Array]
) -> Task:
    """Moves every part of the task that fits to the devices.

    A part that occurs twice in the task, such as train and test of a transductive
    target, is moved once and remains one object.

    Args:
      limit_bytes: largest size of one part on the device.
      lay_out: brings the images of a part to all devices.
    """
    placed: dict[int, Examples] = {}

    def put(part: Examples) -> Examples:
        if id(part) not in placed:
            examples = place(part, limit_bytes)
            if isinstance(examples.image, jax.Array):
                examples = examples._replace(image=lay_out(examples.image))
            placed[id(part)] = examples
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
    """The pools that `load` gathers from.

    Pass them to the jitted step as an argument, so that they are not constants of the
    compiled program.
    """
    source = _if_on_device(task.source.train.image)
    target = _if_on_device(task.target.train.image)
    if task.unlabeled is None:
        return Resident(source, target, target)
    return Resident(source, target, _if_on_device(task.unlabeled.image))


def batches(
    task: Task,
    pools: Pools,
    label: np.ndarray,
    sizes: BatchSizes,
    key: Key,
    start: int,
    local: Local = np.arange,
) -> Iterator[Batch]:
    """Draws batches without end, from iteration `start` on.

    Batch i does not depend on `start`, so a resumed run equals an uninterrupted one.
    Each stream has its own epochs. If there are fewer source or labelled target rows
    than their batch has, the batch is filled by repeated images with the label
    UNLABELED, which carry no supervised loss.

    Args:
      task: parts may be on the device or not.
      pools: the source rows in use and the labelled target rows.
      label: int32[N_t], target labels bought so far; images that are SKIPPED are in
        no stream.
      sizes: batch sizes of the three streams; target=0 turns labelled target batches
        off, unlabeled=0 the unlabelled ones.
      key: key of the round.
      start: number of iterations already done.
      local: batch size -> the rows of a batch that this process reads.

    Yields:
      Batches of those rows, whose images are int32[B] rows of a pool on the device, or
      stored images [B, H, W, C] of any other pool.

    Raises:
      InputError: no source image is in use, or no unlabelled target image is left.
    """
    draw = _make_draw(task, pools, label, sizes, key, local)
    on_device = all(isinstance(images, jax.Array) for images in _pools(task))
    return map(draw, itertools.count(start)) if on_device else _read_ahead(draw, start)


def load(
    pools: Resident,
    drawn: Batch,
    key: Key,
    transform: Callable[[jax.Array, Key], jax.Array],
) -> Batch:
    """Turns a drawn batch into network input; traced inside the jitted step.

    Args:
      pools: `resident(task)`.
      drawn: a batch of `batches`.
      key: key of the iteration, from which each stream derives its own.
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
    unlabeled = drawn.unlabeled
    if unlabeled is not None:
        unlabeled = images(pools.unlabeled, unlabeled, "unlabeled")
    return Batch(source, target, unlabeled)


def _make_draw(
    task: Task,
    pools: Pools,
    label: np.ndarray,
    sizes: BatchSizes,
    key: Key,
    local: Local,
) -> Callable[[int], Batch]:
    """A function from the iteration to the drawn batch of this process."""
    source, target = task.source.train, task.target.train
    sources, targets = np.flatnonzero(pools.source), np.flatnonzero(pools.target)
    pool, left = target.image, ~pools.target & (np.asarray(label) != SKIPPED)
    unlabeled = np.flatnonzero(left)
    if task.unlabeled is not None:
        pool, unlabeled = task.unlabeled.image, np.arange(len(task.unlabeled.label))
    if not len(sources):
        raise errors.InputError("no source image is in use: the source pool is empty.")
    if sizes.unlabeled and not len(unlabeled):
        raise errors.InputError(
            f"no unlabelled image of {task.target.name} is left: lower the label "
            "budget."
        )
    source_rows = order(sources, sizes.source, _seed(key, "source"))
    unlabeled_rows = target_rows = None
    if sizes.unlabeled:
        unlabeled_rows = order(unlabeled, sizes.unlabeled, _seed(key, "unlabeled"))
    if sizes.target and len(targets):
        target_rows = order(targets, sizes.target, _seed(key, "target"))

    own_source, own_target, own_unlabeled = map(local, sizes)  # rows of their batches

    def draw(step: int) -> Batch:
        labelled = at = None
        if target_rows is not None:
            labelled = _examples(target, label, target_rows(step), targets, own_target)
        if unlabeled_rows is not None:
            at = _image(pool, unlabeled_rows(step)[own_unlabeled])
        drawn = source_rows(step)
        return Batch(
            _examples(source, source.label, drawn, sources, own_source), labelled, at
        )

    return draw


def _examples(
    pool: Examples,
    label: Array,
    rows: np.ndarray,
    in_use: np.ndarray,
    own: np.ndarray,
) -> Examples:
    """This process's own of the drawn examples.

    Those beyond as many as there are in use are repeats, which have no label.
    """
    drawn = np.asarray(label)[rows].astype(np.int32)
    drawn[len(in_use) :] = UNLABELED
    return Examples(_image(pool.image, rows[own]), drawn[own])


def _image(images: Images, rows: np.ndarray) -> np.ndarray:
    """Row numbers of a pool on the device, else the stored images."""
    if isinstance(images, jax.Array):
        return rows.astype(np.int32)
    return images[rows]


def _read_ahead(draw: Callable[[int], Batch], start: int) -> Iterator[Batch]:
    """draw(start), draw(start + 1), ..., computed by threads ahead of their use."""
    import grain  # slow to import, and needed for pools that are not on the device

    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=READ_AHEAD)
    steps = grain.MapDataset.range(start, MAX_STEPS).map(draw)
    with contextlib.closing(iter(steps.to_iter_dataset(options))) as iterator:
        yield from iterator


def _pools(task: Task) -> list[Images]:
    """The images that batches are drawn from."""
    parts = [task.source.train, task.target.train, task.unlabeled]
    return [part.image for part in parts if part is not None]


def _if_on_device(images: Images) -> jax.Array | None:
    return images if isinstance(images, jax.Array) else None


def _seed(key: Key, name: str) -> list[int]:
    return np.asarray(jax.random.key_data(keys.key(key, name))).tolist()
