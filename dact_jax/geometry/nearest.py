"""The nearest and the second nearest of many centers, for a block of points.

Points and centers are compared in tiles of a matrix product (`distances`); a tile of
points stays in the cache while it is compared with all tiles of centers.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from dact_jax import vectors
from dact_jax.geometry import distances
from dact_jax.geometry.distances import Centers, Frame
from dact_jax.types import Array

_ROWS, _ALL = PartitionSpec("data"), PartitionSpec()


class Tiles(NamedTuple):
    """Sizes of the matrix products that compare points with centers."""

    points: int
    centers: int


class TwoNearest(NamedTuple):
    """Upper bounds of squared distances to the centers that points were compared with.

    Where bounds come from products, `distances.point_term` must be added to them.
    """

    bound: Array  # float32 or float64[S], of the nearest center
    center: Array  # int32[S], number of that center; -1: compared with none
    second: Array  # as bound, of the nearest of the other centers


class Survey(NamedTuple):
    """Results of the first comparison; all but `nearest` never change."""

    squared_norm: Array  # float64[S], |x|^2 in the frame
    valid: Array  # bool[S], finite and of at most `vectors.MAX_SQUARED_NORM`
    cell: Array  # int32[S], number of the nearest pivot
    nearest: TwoNearest  # among the first `tiles.centers` centers


@functools.partial(jax.jit, static_argnames=("mesh", "mode", "tiles"))
def two_nearest(
    points: jax.Array,
    span: jax.Array,
    order: jax.Array,
    centers: Centers,
    frame: Frame,
    *,
    mesh: Mesh,
    mode: str,
    tiles: Tiles,
) -> TwoNearest:
    """Compares points with centers order[first:last], rounded up to whole tiles.

    Args:
      points: float[S, F], split over the devices; on each device S is a multiple of
        `tiles.points`.
      span: int32[S / tiles.points, 2], (first, last) of each tile of points; split too.
      order: int32[C], numbers of centers, with at least `tiles.centers` behind `last`.
      centers: on every device.
      frame: of the products.
      mesh: devices that share the points.
      mode: one of MODES.
      tiles: sizes of the products.
    """

    def local(
        points: jax.Array, span: jax.Array, order: jax.Array, centers: Centers
    ) -> TwoNearest:
        def compare(points: jax.Array, span: jax.Array) -> TwoNearest:
            placed = distances.to_frame(points, frame, centers.factor.dtype)
            return _compare(placed, span, order, centers, mode, tiles.centers)

        return _map_tiles(compare, tiles.points, points, span)

    specs = (_ROWS, _ROWS, _ALL, _ALL)
    mapped = jax.shard_map(
        local, mesh=mesh, in_specs=specs, out_specs=_ALL, check_vma=False
    )
    return mapped(points, span, order, centers)


@functools.partial(jax.jit, static_argnames=("mesh", "mode", "tiles"))
def survey(
    points: jax.Array,
    pivots: jax.Array,
    centers: Centers,
    frame: Frame,
    *,
    mesh: Mesh,
    mode: str,
    tiles: Tiles,
) -> Survey:
    """Measures points and compares them with the first `tiles.centers` centers.

    Args:
      points: as in `two_nearest`, as are the other arguments.
      pivots: float32[cells, F], the means of the cells, in the frame.
      centers: on every device.
      frame: of the products.
      mesh: devices that share the points.
      mode: one of MODES.
      tiles: sizes of the products.
    """

    def local(points: jax.Array, pivots: jax.Array, centers: Centers) -> Survey:
        dtype, num = centers.factor.dtype, len(pivots)
        pivots = pivots.astype(dtype)
        half_norm = distances.squared_norm(pivots)[:, None] / 2
        first = jax.tree.map(lambda x: x[: tiles.centers], centers)
        number = jnp.arange(tiles.centers, dtype=jnp.int32)

        def measure(points: jax.Array) -> Survey:
            placed = distances.to_frame(points, frame, dtype)
            squared_norm = distances.squared_norm(placed)
            # One product for pivots and centers: narrow products are slow.
            products = _products(placed, jnp.concatenate([-pivots, first.factor]))
            cell = jnp.argmin(half_norm + products[:num], 0).astype(jnp.int32)
            squared = first.squared_norm[:, None] + products[num:]
            if mode == "differences":
                squared = _differences(placed, first)
            return Survey(
                squared_norm.astype(jnp.float64),
                squared_norm < vectors.MAX_SQUARED_NORM,
                cell,
                _two_least(squared, number),
            )

        return _map_tiles(measure, tiles.points, points)

    mapped = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(_ROWS, _ALL, _ALL),
        out_specs=_ALL,
        check_vma=False,
    )
    return mapped(points, pivots, centers)


def _map_tiles(
    compute: Callable, size: int, points: jax.Array, *others: jax.Array
) -> Any:
    """compute(tile of points, ...) for each tile, so that a tile stays in the cache."""
    tiled = points.reshape(-1, size, points.shape[-1])
    results = jax.lax.map(lambda tile: compute(*tile), (tiled, *others))
    gather = functools.partial(jax.lax.all_gather, axis_name="data", tiled=True)
    return jax.tree.map(lambda x: gather(x.reshape(-1)), results)


def _compare(
    placed: jax.Array,
    span: jax.Array,
    order: jax.Array,
    centers: Centers,
    mode: str,
    tile: int,
) -> TwoNearest:
    def compare(state: tuple[jax.Array, TwoNearest]) -> tuple[jax.Array, TwoNearest]:
        start, best = state
        number = jax.lax.dynamic_slice(order, (start,), (tile,))
        tile_centers = jax.tree.map(lambda x: x[number], centers)
        if mode == "differences":
            squared = _differences(placed, tile_centers)
        else:
            products = _products(placed, tile_centers.factor)
            squared = tile_centers.squared_norm[:, None] + products
        new = _two_least(squared, number)
        second = jnp.minimum(best.second, new.second)
        second = jnp.minimum(second, jnp.maximum(best.bound, new.bound))
        center = jnp.where(new.bound < best.bound, new.center, best.center)
        bound = jnp.minimum(best.bound, new.bound)
        return start + tile, TwoNearest(bound, center, second)

    infinite = jnp.full(len(placed), jnp.inf, placed.dtype)
    none = jnp.full(len(placed), -1, jnp.int32)
    state = (span[0], TwoNearest(infinite, none, infinite))
    return jax.lax.while_loop(lambda s: s[0] < span[1], compare, state)[1]


def _two_least(squared: jax.Array, number: jax.Array) -> TwoNearest:
    """The two least of bounds [centers, points]; number: int32[centers]."""
    least, number = jnp.min(squared, 0), number[:, None]
    center = jnp.max(jnp.where(squared == least[None], number, -1), 0)
    infinite = jnp.asarray(jnp.inf, squared.dtype)
    others = jnp.where(number == center[None], infinite, squared)
    return TwoNearest(least, center, jnp.min(others, 0))


def _differences(placed: jax.Array, centers: Centers) -> jax.Array:
    """[centers, points], upper bounds of squared distances.

    Not by `distances.squared_norm`, whose product with ones rounds differently.
    """
    squared = jnp.sum((placed[None] + centers.factor[:, None] / 2) ** 2, -1)
    error = distances.relative_error(placed.shape[-1], "differences")
    norm = centers.squared_norm[:, None]
    return jnp.where(norm < jnp.inf, (1 + error) * squared, norm)


def _products(left: jax.Array, right: jax.Array) -> jax.Array:
    """[m, n], products of [n, F] with [m, F].

    The barrier keeps XLA from transposing the operands instead of the result, which
    takes twice as long where m is small.
    """
    return jax.lax.optimization_barrier(distances.product(left, right.T)).T
