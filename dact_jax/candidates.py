"""Greedy picks among a few points at hand: the farthest from all centres, again and
again, in float64 and by differences.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from dact_jax import nearest
from dact_jax.nearest import Centers, Frame
from dact_jax.types import Array

# Squared distances that agree to this share are equal (float64 rounds their sums of
# thousands of terms to 1e-13 or so), and the lowest row wins.
TIE = 2.0**-36

_CHECKED = 128  # centres measured at once when a candidate is looked at again


class Known(NamedTuple):
    """What is known of points and the centres that they were compared with."""

    bound: Array  # float64[n], squared distance to the nearest is at most this; -1:
    # never to be picked
    near: Array  # int32[n], number of a centre that is no farther; -1: none yet
    rest: Array  # float64[n], all other centres are at least as far


class Settled(NamedTuple):
    """What came of the candidates of a block."""

    known: Known
    centers: Centers
    order: jax.Array  # int32[n], the picked candidates, then padding
    squared: jax.Array  # float64[n], squared distance of each at its time
    num: jax.Array  # int32[], picks
    checks: jax.Array  # int32[], candidates measured against every centre
    length: jax.Array  # float64[], largest squared length of those that are left


def lowest(value: jax.Array) -> jax.Array:
    """int32[], the lowest of those that tie for the largest.

    Args:
      value: float64[n].
    """
    most = jnp.max(value)
    tied = value >= jnp.where(most > 0, (1 - TIE) * most, most)
    return jnp.argmax(tied).astype(jnp.int32)


@functools.partial(jax.jit, donate_argnames="centers", static_argnames="over")
def settle(
    rows: jax.Array,
    points: jax.Array,
    known: Known,
    centers: Centers,
    count: jax.Array,
    frame: Frame,
    outside: jax.Array,
    outside_row: jax.Array,
    budget: jax.Array,
    *,
    over: Mesh,
) -> Settled:
    """Picks candidates for as long as no other point of the pool can be farther.

    A candidate's distance is that to `near`, by differences. Where another centre may
    be nearer (`rest`), and only when it is its turn, all centres are measured. A pick
    brings the other candidates up to date, by products in float64 where these tell
    distances apart better than TIE, and else by differences.

    Args:
      rows: int32[n], row of each candidate in the pool, ascending.
      points: float32[n, F].
      known: of the candidates, all compared with every centre.
      centers: room for n more.
      count: int32[], how many there are.
      frame: of the distances.
      outside: float64[], largest bound of all points that are no candidates; -1: none.
      outside_row: int32[], the lowest row of those that tie for it.
      budget: int32[], most picks.
      over: the devices; each does the same.
    """
    alike = PartitionSpec()
    mapped = jax.shard_map(
        _settle, mesh=over, in_specs=alike, out_specs=alike, check_vma=False
    )
    return mapped(
        rows, points, known, centers, count, frame, outside, outside_row, budget
    )


def _settle(
    rows: jax.Array,
    points: jax.Array,
    known: Known,
    centers: Centers,
    count: jax.Array,
    frame: Frame,
    outside: jax.Array,
    outside_row: jax.Array,
    budget: jax.Array,
) -> Settled:
    raw = points.astype(jnp.float64)
    unit = jnp.asarray(frame.scale, jnp.float64) ** 2
    placed = nearest.place(points, frame, jnp.float64)
    length = nearest.squared_length(placed)
    num = len(rows)

    def away(others: jax.Array, point: jax.Array) -> jax.Array:
        return unit * nearest.squared_length(others - point)

    error = 2 * nearest.slack(points.shape[-1], "float64") * jnp.max(length)
    smooth = error <= TIE / 8 * outside  # then products are as good as differences
    table = jax.lax.cond(
        smooth, lambda: _products(placed, length), lambda: jnp.zeros((num, num))
    )
    own = away(raw, centers.point[jnp.maximum(known.near, 0)].astype(jnp.float64))
    value = jnp.where(known.bound < 0, -1.0, own)

    def check(candidate: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The nearest of all centres, by differences."""

        def some(state: tuple) -> tuple:
            start, least, at = state
            size = (_CHECKED, points.shape[-1])
            part = jax.lax.dynamic_slice(centers.point, (start, jnp.int32(0)), size)
            far = away(part.astype(jnp.float64), raw[candidate][None])
            number = start + jnp.arange(_CHECKED, dtype=jnp.int32)
            far = jnp.where(number < count, far, jnp.inf)
            here = jnp.argmin(far).astype(jnp.int32)
            at = jnp.where(far[here] < least, number[here], at)
            return start + _CHECKED, jnp.minimum(least, far[here]), at

        begin = (jnp.int32(0), jnp.float64(jnp.inf), jnp.int32(-1))
        _, least, at = jax.lax.while_loop(lambda s: s[0] < count, some, begin)
        return least, at

    def turn(state: tuple) -> tuple:
        value, near, rest, order, squared, picks, checks, _ = state
        top = lowest(value)
        far = value[top]
        tied = (far >= outside * (1 - TIE)) & (rows[top] < outside_row)
        on = (far >= 0) & ((far > outside * (1 + TIE)) | tied)
        sure = (rest[top] >= far) | (far == 0)
        pick, doubt = on & sure, on & ~sure
        # The doubtful one: its distance to all centres; those picked here are in `far`.
        least, at = jax.lax.cond(doubt, check, lambda _: (far, near[top]), top)
        near = near.at[top].set(jnp.where(least < far, at, near[top]))
        value = value.at[top].min(least)
        rest = rest.at[top].set(jnp.where(doubt, value[top], rest[top]))
        # The pick: what it means for the others.
        reach = jax.lax.cond(
            smooth, lambda: table[top], lambda: away(raw, raw[top][None])
        )
        reach = jnp.where(pick, reach, jnp.inf)
        rest = jnp.minimum(rest, jnp.maximum(reach, value))
        near = jnp.where(reach < value, count + picks, near)
        value = jnp.minimum(value, reach)
        value = value.at[top].set(jnp.where(pick, -1.0, value[top]))
        order = order.at[picks].set(jnp.where(pick, top, order[picks]))
        squared = squared.at[picks].set(jnp.where(pick, far, squared[picks]))
        picks = picks + pick.astype(jnp.int32)
        checks = checks + doubt.astype(jnp.int32)
        return value, near, rest, order, squared, picks, checks, on

    none = jnp.int32(0)
    counts = (none, none, jnp.bool_(True))
    picked = (jnp.zeros(num, jnp.int32), jnp.zeros(num))
    begin = (value, known.near, known.rest, *picked, *counts)
    state = jax.lax.while_loop(lambda s: s[-1] & (s[5] < budget), turn, begin)
    value, near, rest, order, squared, picks, checks, _ = state
    centers = append(centers, points[order], count, picks, frame)
    blur = jnp.where(smooth, error, 0.0)  # what is small beside `outside` may be large
    known = Known(jnp.where(value < 0, value, value + blur), near, rest - blur)
    length = jnp.max(jnp.where(value >= 0, length, 0.0))
    return Settled(known, centers, order, squared, picks, checks, length)


def append(
    centers: Centers, points: jax.Array, count: jax.Array, num: jax.Array, frame: Frame
) -> Centers:
    """The centres with the first `num` of the points behind the `count` there are.

    Args:
      centers: with room for all the points.
      points: float32[n, F].
      count: int32[].
      num: int32[].
      frame: of the products.
    """
    mode = "float32" if centers.factor.dtype == jnp.float32 else "float64"
    factor, weight = nearest.prepare(points, frame, mode=mode)
    real = jnp.arange(len(points), dtype=jnp.int32) < num
    factor = jnp.where(real[:, None], factor, 0)
    weight = jnp.where(real, weight, jnp.inf)
    place = jax.lax.dynamic_update_slice
    return Centers(
        place(centers.point, points, (count, jnp.int32(0))),
        place(centers.factor, factor, (count, jnp.int32(0))),
        place(centers.weight, weight, (count,)),
    )


def _products(placed: jax.Array, length: jax.Array) -> jax.Array:
    """float64[n, n], squared distances."""
    product = nearest.product(placed, placed.T)
    return jnp.maximum(length[:, None] + length[None] - 2 * product, 0.0)


@functools.partial(jax.jit, static_argnames="over")
def scan(
    points: jax.Array, taken: jax.Array, budget: jax.Array, *, over: Mesh
) -> tuple[jax.Array, jax.Array]:
    """The plain greedy: one pass over all points for each pick, by differences.

    Args:
      points: float32[N, F].
      taken: bool[N], the centres, at least one; not to be picked.
      budget: int32[], number of picks.
      over: the devices; each does the same.

    Returns:
      int32[N], the rows, then padding; float64[N], squared distances at their time.
    """
    num = len(points)

    def away(raw: jax.Array, row: jax.Array) -> jax.Array:
        return nearest.squared_length(raw - raw[row][None])

    def local(points: jax.Array, taken: jax.Array, budget: jax.Array) -> tuple:
        raw = points.astype(jnp.float64)

        def cover(row: jax.Array, value: jax.Array) -> jax.Array:
            far = jax.lax.cond(
                taken[row], lambda: away(raw, row), lambda: jnp.full(num, jnp.inf)
            )
            return jnp.minimum(value, far)

        def pick(number: jax.Array, state: tuple) -> tuple:
            value, rows, squared = state
            row = lowest(value)
            rows, squared = rows.at[number].set(row), squared.at[number].set(value[row])
            return jnp.minimum(value, away(raw, row)).at[row].set(-1.0), rows, squared

        zero = jnp.int32(0)
        value = jax.lax.fori_loop(zero, jnp.int32(num), cover, jnp.full(num, jnp.inf))
        start = (jnp.where(taken, -1.0, value), jnp.zeros(num, jnp.int32))
        state = jax.lax.fori_loop(zero, budget, pick, (*start, jnp.zeros(num)))
        return state[1:]

    alike = PartitionSpec()
    mapped = jax.shard_map(
        local, mesh=over, in_specs=alike, out_specs=alike, check_vma=False
    )
    return mapped(points, taken, budget)
