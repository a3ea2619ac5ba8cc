"""A pool of weighted points, centered, as k-means passes over it: block by block.

A block holds a few groups of rows for each device; one matrix product takes a group.
Values of rows are kept on the devices in the order of the blocks, [b, n, G]: b blocks
of n groups of G rows, the groups split over the devices.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from dact_jax import devices, vectors
from dact_jax.geometry import distances, points
from dact_jax.geometry.points import Points

GROUP = 512  # most rows of a group
_BLOCK = 2**23  # most numbers of a block on a device
_GROUPS = 32  # most groups of a block on a device
_SAMPLE = 512  # rows for the first estimate of the mean

_ROWS, _ALL = PartitionSpec("data"), PartitionSpec()
_T = TypeVar("_T")


class Weighted(NamedTuple):
    """N points with weights."""

    pool: Points
    weight: np.ndarray  # float32[N]
    block_weight: jax.Array  # float32[b, n, G], split; 0 where a row is repeated
    block_row: np.ndarray  # int64[b, n * G], row of the pool at each place of a block
    is_first: np.ndarray  # bool[b, n * G], False where a row is repeated as padding
    part_rows: int  # rows of each part of the pool in a block
    origin: np.ndarray  # float32[F], the mean of the points with a weight
    variance: np.ndarray  # float64[F], of these points, not weighted


def make(pool: Points, weight: np.ndarray, group: int) -> Weighted:
    """Passes over the pool once to compute its mean and variance.

    Args:
      pool: N points.
      weight: float32[N], finite, not negative, not all 0.
      group: most rows of a group.

    Raises:
      InputError: a point is not finite, or too long.
    """
    num_blocks, groups, group = _layout(pool, group)
    # Parts follow one another in a block; beyond its end a part repeats its last row.
    local = np.arange(num_blocks * groups * group).reshape(num_blocks, 1, -1)
    begin = pool.part * np.arange(pool.parts)[:, None]
    row = (begin + np.minimum(local, pool.part - 1)).reshape(num_blocks, -1)
    is_first = (local < pool.part).repeat(pool.parts, 1).reshape(row.shape)
    is_first = is_first & (row < pool.num)
    last = np.minimum(row, pool.num - 1)
    block_weight = np.where(is_first, weight[last], np.float32(0))
    block_weight = block_weight.reshape(num_blocks, -1, group)
    split = jax.make_array_from_callback(
        block_weight.shape, devices.batched(pool.mesh, 1), lambda at: block_weight[at]
    )
    _, sample = points.sample(pool, _SAMPLE)
    estimate = np.median(sample, axis=0)  # a few far points do not move it
    estimate = np.where(np.isfinite(estimate), estimate, 0).astype(np.float32)
    size, unknown = groups * group, np.zeros(0)
    return _centered(
        Weighted(pool, weight, split, row, is_first, size, estimate, unknown)
    )


def _layout(pool: Points, group: int) -> tuple[int, int, int]:
    """(blocks, groups of a part in a block, rows of a group), evenly filled."""
    devices_per_part = pool.mesh.size // pool.parts
    rows = -(-pool.part // devices_per_part)  # of a device
    most = max(1, min(_BLOCK // pool.width, _GROUPS * GROUP))
    num_blocks = -(-rows // most)
    groups = -(-rows // (num_blocks * max(1, min(group, GROUP))))
    return num_blocks, devices_per_part * groups, -(-rows // (num_blocks * groups))


def blocks(
    view: Weighted, compute: Callable[[np.int32, jax.Array], _T]
) -> Iterator[tuple[int, _T]]:
    """Yields (number, compute(number, points float32[n * G, F])) for each block.

    Args:
      view: the points.
      compute: starts the computation for a block; returns arrays on the devices.
    """
    previous: tuple[int, _T] | None = None
    for number, (_, x) in enumerate(points.blocks(view.pool, view.part_rows)):
        result = compute(np.int32(number), x)
        if previous is not None:
            # While one block is computed the next is read: two are in memory, not all.
            yield jax.block_until_ready(previous)
        previous = number, result
    assert previous is not None  # a pool has a row
    yield previous


def by_row(view: Weighted, values: np.ndarray) -> np.ndarray:
    """[N], values [b, ...] in the order of the blocks, sorted by row."""
    sorted_values = np.empty(view.pool.num, values.dtype)
    values = values.reshape(view.is_first.shape)[view.is_first]
    sorted_values[view.block_row[view.is_first]] = values
    return sorted_values


def rows(view: Weighted, row: np.ndarray) -> np.ndarray:
    """float32[n, F], the centered points of rows int[n]."""
    return np.asarray(view.pool.read_replicated(row)) - view.origin


def _centered(view: Weighted) -> Weighted:
    """Replaces the estimate of the mean by the mean, and computes the variance."""
    pool = view.pool
    estimate = devices.put(view.origin, pool.mesh, split=False)

    def compute(
        number: np.int32, x: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        return _moments(x, view.block_weight, number, estimate, mesh=pool.mesh)

    first, second = (np.zeros(pool.width) for _ in range(2))
    for number, (valid, total, squares) in blocks(view, compute):
        wrong = ~np.asarray(valid) & view.is_first[number]
        vectors.check_valid(view.block_row[number], ~wrong, "points")
        first += np.asarray(total)
        second += np.asarray(squares)
    count = np.count_nonzero(view.weight)
    mean = (view.origin + first / count).astype(np.float32)
    shift = mean.astype(np.float64) - view.origin
    variance = second / count - 2 * shift * first / count + shift**2
    return view._replace(origin=mean, variance=np.maximum(variance, 0))


@functools.partial(jax.jit, static_argnames="mesh")
def _moments(
    x: jax.Array,
    weight: jax.Array,
    number: jax.Array,
    origin: jax.Array,
    *,
    mesh: Mesh,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(valid bool[n * G], sums float64[F] of x - origin and of its squares)."""

    def local(
        x: jax.Array, weight: jax.Array, number: jax.Array, origin: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        counts = (weight[number] > 0).reshape(-1)[:, None]
        gap = x - origin[None]
        # As in k-center: then distances to any point and to the mean are finite, too.
        valid = distances.squared_norm(x) < vectors.MAX_SQUARED_NORM
        gap = jnp.where(counts, gap, jnp.float32(0)).astype(jnp.float64)
        total = jax.lax.psum((jnp.sum(gap, 0), jnp.sum(gap**2, 0)), "data")
        return jax.lax.all_gather(valid, "data", tiled=True), *total

    specs = (_ROWS, PartitionSpec(None, "data"), _ALL, _ALL)
    return jax.shard_map(
        local, mesh=mesh, in_specs=specs, out_specs=_ALL, check_vma=False
    )(x, weight, number, origin)
