"""A pool of weighted points, centred, as k-means passes over it: block by block.

A block holds a few groups of rows for each device; a group is what one matrix product
takes. What is known of each row lies on the devices in the same order, [b, n, G]: b
blocks of n groups of G rows, the groups split over the devices.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from dact_jax import devices, errors
from dact_jax.geometry import distances, points
from dact_jax.geometry.points import Points

GROUP = 512  # most rows of a group
_BLOCK = 2**23  # most numbers that a block holds on a device
_GROUPS = 32  # most groups that a block holds on a device
_SAMPLE = 512  # points that tell where about the mean is

_ROWS, _ALL = PartitionSpec("data"), PartitionSpec()
_T = TypeVar("_T")


class Weighted(NamedTuple):
    """N points with weights."""

    pool: Points
    mass: np.ndarray  # float32[N], the weights
    weight: jax.Array  # float32[b, n, G], the same, split; 0 where a row is repeated
    row: np.ndarray  # int64[b, n * G], which row stands where
    fresh: np.ndarray  # bool[b, n * G], False where a row is repeated
    size: int  # rows of each part in a block
    origin: np.ndarray  # float32[F], the mean of the points with a weight
    variance: np.ndarray  # float64[F], of those around it


def make(pool: Points, mass: np.ndarray, group: int) -> Weighted:
    """Passes over the pool once, for its mean and variance.

    Args:
      pool: N points.
      mass: float32[N], finite, none negative, not all 0.
      group: most rows of a group.

    Raises:
      InputError: a point is not finite, or too long.
    """
    num_blocks, groups, group = _layout(pool, group)
    # Parts follow one another in a block; a part that ends repeats its last row.
    local = np.arange(num_blocks * groups * group).reshape(num_blocks, 1, -1)
    begin = pool.part * np.arange(pool.parts)[:, None]
    row = (begin + np.minimum(local, pool.part - 1)).reshape(num_blocks, -1)
    fresh = (local < pool.part).repeat(pool.parts, 1).reshape(row.shape)
    fresh = fresh & (row < pool.num)
    weight = np.where(fresh, mass[np.minimum(row, pool.num - 1)], np.float32(0))
    weight = weight.reshape(num_blocks, -1, group)
    split = jax.make_array_from_callback(
        weight.shape, devices.batched(pool.mesh, 1), lambda at: weight[at]
    )
    _, some = points.sample(pool, _SAMPLE)
    about = np.median(some, axis=0)  # which a few far points do not move
    about = np.where(np.isfinite(about), about, 0).astype(np.float32)
    return _centred(
        Weighted(pool, mass, split, row, fresh, groups * group, about, np.zeros(0))
    )


def _layout(pool: Points, group: int) -> tuple[int, int, int]:
    """(blocks, groups of a part in a block, rows of a group), evenly filled."""
    share = pool.mesh.size // pool.parts  # devices that divide a part among them
    alone = -(-pool.part // share)  # rows of a device
    most = max(1, min(_BLOCK // pool.width, _GROUPS * GROUP))
    num_blocks = -(-alone // most)
    groups = -(-alone // (num_blocks * max(1, min(group, GROUP))))
    return num_blocks, share * groups, -(-alone // (num_blocks * groups))


def blocks(
    view: Weighted, work: Callable[[np.int32, jax.Array], _T]
) -> Iterator[tuple[int, _T]]:
    """Yields (number, work(number, points float32[n * G, F])) for each block.

    Args:
      view: the points.
      work: starts what devices do with a block; arrays on devices.
    """
    behind: tuple[int, _T] | None = None
    for number, (_, x) in enumerate(points.blocks(view.pool, view.size)):
        done = work(np.int32(number), x)
        if behind is not None:
            # While one block is computed the next is read: two are in memory, not all.
            yield jax.block_until_ready(behind)
        behind = number, done
    assert behind is not None  # a pool has a row
    yield behind


def by_row(view: Weighted, values: np.ndarray) -> np.ndarray:
    """[N], of what is known of each row.

    Args:
      view: the points.
      values: [b, ...] in the order of the blocks.
    """
    found = np.empty(view.pool.num, values.dtype)
    found[view.row[view.fresh]] = values.reshape(view.fresh.shape)[view.fresh]
    return found


def rows(view: Weighted, row: np.ndarray) -> np.ndarray:
    """float32[n, F], some points, centred.

    Args:
      view: the points.
      row: int[n].
    """
    return np.asarray(view.pool.shared(row)) - view.origin


def _centred(view: Weighted) -> Weighted:
    """With the mean in place of a guess near it."""
    pool, about = view.pool, devices.put(view.origin, view.pool.mesh, split=False)

    def work(number: np.int32, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return _moments(x, view.weight, number, about, over=pool.mesh)

    first, second = (np.zeros(pool.width) for _ in range(2))
    for number, (finite, total, squares) in blocks(view, work):
        bad = view.row[number][~np.asarray(finite) & view.fresh[number]]
        if bad.size:
            raise errors.InputError(
                "points must be finite, and short enough for float32 to hold their "
                f"squared length; row {bad.min()} is not."
            )
        first += np.asarray(total)
        second += np.asarray(squares)
    count = np.count_nonzero(view.mass)
    mean = (view.origin + first / count).astype(np.float32)
    off = mean.astype(np.float64) - view.origin
    variance = second / count - 2 * off * first / count + off**2
    return view._replace(origin=mean, variance=np.maximum(variance, 0))


@functools.partial(jax.jit, static_argnames="over")
def _moments(
    x: jax.Array, weight: jax.Array, number: jax.Array, about: jax.Array, *, over: Mesh
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(finite bool[n * G], sums float64[F] of x - about and of its squares)."""

    def local(
        x: jax.Array, weight: jax.Array, number: jax.Array, about: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        counts = (weight[number] > 0).reshape(-1)[:, None]
        gap = x - about[None]
        # Distances between points, and from their mean, are finite then too.
        finite = jnp.isfinite(16 * distances.squared_length(gap))
        gap = jnp.where(counts, gap, jnp.float32(0)).astype(jnp.float64)
        total = jax.lax.psum((jnp.sum(gap, 0), jnp.sum(gap**2, 0)), "data")
        return jax.lax.all_gather(finite, "data", tiled=True), *total

    specs = (_ROWS, PartitionSpec(None, "data"), _ALL, _ALL)
    return jax.shard_map(
        local, mesh=over, in_specs=specs, out_specs=_ALL, check_vma=False
    )(x, weight, number, about)
