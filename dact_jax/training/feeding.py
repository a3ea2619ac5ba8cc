"""Drawn batches on the devices: the next ones are brought there while they compute."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent import futures
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from dact_jax import devices, keys
from dact_jax.data import streams
from dact_jax.run_types import Run
from dact_jax.types import Batch, BatchSizes, Images, Key, Pools, PyTree, Task

# Of drawn images that are brought to the devices at once. Three such pieces are there
# at most: one that is computed on, one that waits, and one on its way.
PIECE_BYTES = 2**26

T = TypeVar("T")
U = TypeVar("U")


class Piece(NamedTuple):
    """Drawn batches of some iterations of a chunk."""

    drawn: Batch  # leaves have a leading axis; may be longer than the piece
    begin: int  # the iteration of the chunk that the first batch is of
    end: int  # the iteration after the last


class Chunk(NamedTuple):
    """Drawn batches of iterations that are recorded together."""

    pieces: Iterator[Piece]  # from the one that has `first` on
    first: int  # the first iteration that is left to do
    length: int  # iterations
    longest: int  # iterations of the longest chunk of the round


def draw_chunks(
    run: Run, pools: Pools, label: np.ndarray, key: Key, start: int, num_steps: int
) -> Iterator[Chunk]:
    """The remaining batches of a round on the devices, a chunk at a time.

    Args:
      label: int32[N_t], target labels bought so far.
      key: of the round.
      start: iterations done.
      num_steps: iterations in the round.
    """
    every, sizes, mesh = run.schedule.chunk, run.schedule.sizes, devices.make_mesh()
    longest = min(every, num_steps)
    width = piece_length(run.task, sizes, longest)
    plan = [
        _Plan(at, begin, min(begin + width, every, num_steps - at))
        for at in range(start - start % every, num_steps, every)
        for begin in range(0, min(every, num_steps - at), width)
    ]
    plan = [piece for piece in plan if piece.at + piece.end > start]
    if not plan:  # the round is over
        return
    batches = streams.batches(
        run.task,
        pools,
        label,
        sizes,
        keys.key(key, "batches"),
        plan[0].at + plan[0].begin,
        functools.partial(devices.local_rows, mesh=mesh),
    )

    def make(piece: _Plan) -> Piece:
        drawn = stacked(batches, piece.end - piece.begin, width)
        return Piece(_put(drawn, sizes, mesh), piece.begin, piece.end)

    with contextlib.closing(made_ahead(make, plan)) as pieces:
        for at, of_chunk in itertools.groupby(plan, lambda piece: piece.at):
            own = itertools.islice(pieces, len(list(of_chunk)))
            yield Chunk(own, max(start - at, 0), min(every, num_steps - at), longest)


def piece_length(task: Task, sizes: BatchSizes, longest: int) -> int:
    """Iterations of a piece: all of a chunk, unless their images have many bytes."""
    unlabeled = task.target.train if task.unlabeled is None else task.unlabeled
    pools = (task.source.train, task.target.train, unlabeled)
    each = sum(
        count * _drawn_bytes(pool.image)
        for pool, count in zip(pools, sizes, strict=True)
    )
    most = min(max(PIECE_BYTES // max(each, 1), 1), longest)
    return -(-longest // -(-longest // most))  # pieces of nearly equal length


def _drawn_bytes(images: Images) -> int:
    """Bytes of a drawn image: those of its row number, if the pool is on the device."""
    if isinstance(images, jax.Array):
        return np.dtype(np.int32).itemsize
    return int(np.prod(images.shape[1:])) * np.dtype(images.dtype).itemsize


def made_ahead(make: Callable[[T], U], items: Iterable[T]) -> Generator[U, None, None]:
    """make(item) for each item; a thread makes the next one while one is used."""
    with futures.ThreadPoolExecutor(1) as maker:
        upcoming: futures.Future[U] | None = None
        for item in items:
            following = maker.submit(make, item)
            if upcoming is not None:
                yield upcoming.result()
            upcoming = following
        if upcoming is not None:
            yield upcoming.result()


def stacked(drawn: Iterator[Batch], count: int, length: int) -> Batch:
    """The next `count` drawn batches, stacked along a new leading axis.

    Args:
      length: of the axis, at least `count`; the last batch is repeated.
    """
    batch = next(drawn)
    filled = jax.tree.map(
        lambda leaf: np.empty((length, *leaf.shape), leaf.dtype), batch
    )
    for i in range(length):  # one at a time: a chunk of photos has many bytes
        batch = next(drawn) if 0 < i < count else batch
        jax.tree.map(lambda into, leaf, i=i: _copy(into, i, leaf), filled, batch)
    return filled


def _copy(into: np.ndarray, i: int, leaf: np.ndarray) -> None:
    into[i] = leaf


class _Plan(NamedTuple):
    """Which iterations of a round a piece has."""

    at: int  # where its chunk begins
    begin: int  # of the chunk
    end: int


def _put(drawn: Batch, sizes: BatchSizes, mesh: Mesh) -> Batch:
    """The batches of a chunk on the devices, of which each process has its rows."""

    def put(stream: PyTree, size: int) -> PyTree:
        return jax.tree.map(
            lambda leaf: devices.put_rows(leaf, size, mesh, axis=1), stream
        )

    return Batch(*map(put, drawn, sizes))
