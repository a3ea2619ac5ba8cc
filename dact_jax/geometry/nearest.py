"""The nearest and the second nearest of many centres, for a block of points.

Points and centres are compared in tiles of a matrix product (`products`); a portion of
points stays in a cache for all its tiles.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from dact_jax.geometry import distances
from dact_jax.geometry.distances import Centers, Frame
from dact_jax.types import Array

_ROWS, _ALL = PartitionSpec("data"), PartitionSpec()


class Tiles(NamedTuple):
    """In what portions points and centres are compared: sizes of matrix products."""

    points: int
    centers: int


class Found(NamedTuple):
    """What a block of points found among the centres it was compared with.

    Squared distances; where they are products, less the point's `products.own` part.
    """

    least: Array  # float32 or float64[S], upper bound of the one to `at`
    at: Array  # int32[S], number of the nearest of them; -1: compared with none
    second: Array  # as least, the same bound for the nearest of the others


class Survey(NamedTuple):
    """What has to be found out of each point only once."""

    length: Array  # float64[S], |x|^2 in the frame
    finite: Array  # bool[S], false for a point that is not, or is longer than LONGEST
    cell: Array  # int32[S], the nearest pivot
    found: Found  # among the first centres


@functools.partial(jax.jit, static_argnames=("over", "mode", "tiles"))
def two_nearest(
    points: jax.Array,
    span: jax.Array,
    order: jax.Array,
    centers: Centers,
    frame: Frame,
    *,
    over: Mesh,
    mode: str,
    tiles: Tiles,
) -> Found:
    """Compares points with centres order[first] .. order[last - 1], and some behind.

    Args:
      points: float32[S, F], split over the devices; on each a multiple of
        `tiles.points`.
      span: int32[S / tiles.points, 2], first and last of each portion; split too.
      order: int32[C], numbers of centres; room for `tiles.centers` behind `last`.
      centers: on every device.
      frame: of the products.
      over: the devices.
      mode: one of MODES.
      tiles: what is compared at once.
    """

    def local(
        points: jax.Array, span: jax.Array, order: jax.Array, centers: Centers
    ) -> Found:
        def one(points: jax.Array, span: jax.Array) -> Found:
            placed = distances.place(points, frame, centers.factor.dtype)
            return _compare(placed, span, order, centers, mode, tiles.centers)

        return _by_portions(one, tiles.points, points, span)

    specs = (_ROWS, _ROWS, _ALL, _ALL)
    mapped = jax.shard_map(
        local, mesh=over, in_specs=specs, out_specs=_ALL, check_vma=False
    )
    return mapped(points, span, order, centers)


@functools.partial(jax.jit, static_argnames=("over", "mode", "tiles"))
def survey(
    points: jax.Array,
    pivots: jax.Array,
    centers: Centers,
    frame: Frame,
    *,
    over: Mesh,
    mode: str,
    tiles: Tiles,
) -> Survey:
    """Measures points, and compares them with the first `tiles.centers` centres.

    Args:
      points: as of `two_nearest`, as are the others.
      pivots: float32[cells, F], of the cells, in the frame.
      centers: on every device.
      frame: of the products.
      over: the devices.
      mode: one of MODES.
      tiles: what is compared at once.
    """

    def local(points: jax.Array, pivots: jax.Array, centers: Centers) -> Survey:
        dtype, num = centers.factor.dtype, len(pivots)
        pivots = pivots.astype(dtype)
        half = distances.squared_length(pivots)[:, None] / 2
        first = jax.tree.map(lambda x: x[: tiles.centers], centers)
        number = jnp.arange(tiles.centers, dtype=jnp.int32)

        def one(points: jax.Array) -> Survey:
            placed = distances.place(points, frame, dtype)
            length = distances.squared_length(placed)
            # One product for both: thin ones are slow.
            across = _across(placed, jnp.concatenate([-pivots, first.factor]))
            cell = jnp.argmin(half + across[:num], 0).astype(jnp.int32)
            far = first.weight[:, None] + across[num:]
            if mode == "differences":
                far = _differences(placed, first)
            found = _two(far, number)
            finite = length < distances.LONGEST
            return Survey(length.astype(jnp.float64), finite, cell, found)

        return _by_portions(one, tiles.points, points)

    mapped = jax.shard_map(
        local,
        mesh=over,
        in_specs=(_ROWS, _ALL, _ALL),
        out_specs=_ALL,
        check_vma=False,
    )
    return mapped(points, pivots, centers)


def _by_portions(one: Callable, size: int, points: jax.Array, *more: jax.Array) -> Any:
    """What `one` makes of each portion: all its passes find it in a cache."""
    portions = points.reshape(-1, size, points.shape[-1])
    found = jax.lax.map(lambda some: one(*some), (portions, *more))
    gather = functools.partial(jax.lax.all_gather, axis_name="data", tiled=True)
    return jax.tree.map(lambda x: gather(x.reshape(-1)), found)


def _compare(
    placed: jax.Array,
    span: jax.Array,
    order: jax.Array,
    centers: Centers,
    mode: str,
    tile: int,
) -> Found:
    def compare(state: tuple[jax.Array, Found]) -> tuple[jax.Array, Found]:
        start, known = state
        number = jax.lax.dynamic_slice(order, (start,), (tile,))
        some = jax.tree.map(lambda x: x[number], centers)
        if mode == "differences":
            far = _differences(placed, some)
        else:
            far = some.weight[:, None] + _across(placed, some.factor)
        new = _two(far, number)
        second = jnp.minimum(known.second, new.second)
        second = jnp.minimum(second, jnp.maximum(known.least, new.least))
        at = jnp.where(new.least < known.least, new.at, known.at)
        return start + tile, Found(jnp.minimum(known.least, new.least), at, second)

    nothing = jnp.full(len(placed), jnp.inf, placed.dtype)
    none = Found(nothing, jnp.full(len(placed), -1, jnp.int32), nothing)
    state = (span[0], none)
    return jax.lax.while_loop(lambda s: s[0] < span[1], compare, state)[1]


def _two(far: jax.Array, number: jax.Array) -> Found:
    """Of [G, n], upper bounds; number: int32[G]."""
    low, number = jnp.min(far, 0), number[:, None]
    here = jnp.max(jnp.where(far == low[None], number, -1), 0)
    infinite = jnp.asarray(jnp.inf, far.dtype)
    return Found(low, here, jnp.min(jnp.where(number == here[None], infinite, far), 0))


def _differences(placed: jax.Array, centers: Centers) -> jax.Array:
    """[G, n], upper bounds."""
    away = jnp.sum((placed[None] + centers.factor[:, None] / 2) ** 2, -1)
    up = distances.slack(placed.shape[-1], "differences")
    weight = centers.weight[:, None]
    return jnp.where(weight < jnp.inf, (1 + up) * away, weight)


def _across(left: jax.Array, right: jax.Array) -> jax.Array:
    """[m, n], products of [n, F] with [m, F].

    XLA would turn the product and not the result, at twice the time where m is small.
    """
    return jax.lax.optimization_barrier(distances.product(left, right.T)).T
