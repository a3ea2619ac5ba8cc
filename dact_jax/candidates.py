"""Greedy picks among a few points at hand: the farthest from all centres, again and
again, in float64 and by differences.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from dact_jax import products
from dact_jax.products import Centers, Frame
from dact_jax.types import Array

# Squared distances that agree to this share are equal (float64 rounds their sums of
# thousands of terms to 1e-13 or so), and the lowest row wins.
TIE = 2.0**-40
_SMOOTH = 2.0**-24  # share of the radius squared that the error of a product may have

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
    order: Array  # int32[n], the picked candidates, then the others
    squared: Array  # float64[n], squared distance of each at its time
    num: Array  # int32[], picks
    length: Array  # float64[], largest squared length of those that are left
    blur: Array  # float64[], error of their distances to the picks


class _State(NamedTuple):
    value: jax.Array  # float64[n], squared distance as far as known; -1: not to be had
    near: jax.Array  # int32[n], the centre that it is measured from
    rest: jax.Array  # float64[n], all other centres are at least as far
    exact: jax.Array  # bool[n], by differences
    turn: jax.Array  # int32[n], its number among the picks; -1: not picked
    squared: jax.Array  # float64[n], its distance when it was picked
    picks: jax.Array  # int32[]
    more: jax.Array  # bool[]


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

    A candidate's distance is that to `near`, by differences. A pick brings the others
    up to date by one row of the table of their products in float64, where its error is
    small beside the distances outside, and else by differences. Before a pick all that
    may be the farthest within that error, or have a nearer centre (`rest`), are
    measured against every centre by differences.

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
      over: the devices; each does the same, and the first one's results are taken.
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
    placed = products.place(points, frame, jnp.float64)
    length = products.squared_length(placed)
    num = len(rows)

    def away(others: jax.Array, point: jax.Array) -> jax.Array:
        return unit * products.squared_length(others - point)

    error = 2 * products.slack(points.shape[-1], "float64") * jnp.max(length)
    smooth = error <= _SMOOTH * outside
    table = jax.lax.cond(
        smooth, lambda: _products(placed, length), lambda: jnp.zeros((num, num))
    )
    margin = jnp.where(smooth, 4 * error, 0.0)
    own = away(raw, centers.point[jnp.maximum(known.near, 0)].astype(jnp.float64))

    def check(candidate: jax.Array, turn: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(squared distance, number) of the nearest of all centres, by differences."""
        point = raw[candidate][None]
        here = jnp.where(turn >= 0, away(raw, point), jnp.inf)
        best = jnp.argmin(here)

        def some(state: tuple) -> tuple:
            start, least, at = state
            size = (_CHECKED, points.shape[-1])
            part = jax.lax.dynamic_slice(centers.point, (start, jnp.int32(0)), size)
            number = start + jnp.arange(_CHECKED, dtype=jnp.int32)
            far = away(part.astype(jnp.float64), point)
            far = jnp.where(number < count, far, jnp.inf)
            nearer = jnp.argmin(far)
            at = jnp.where(far[nearer] < least, number[nearer], at)
            return start + _CHECKED, jnp.minimum(least, far[nearer]), at

        begin = (jnp.int32(0), here[best], count + turn[best])
        _, least, at = jax.lax.while_loop(lambda s: s[0] < count, some, begin)
        return least, at

    def turn(s: _State) -> _State:
        edge = jnp.maximum(jnp.max(s.value), outside) * (1 - TIE) - margin
        first = (s.value >= edge) & (s.value >= 0)
        crowd = (jnp.sum(first) > 1) | (outside >= edge)
        loose = ((s.rest < s.value) & (s.value > 0)) | (crowd & ~s.exact)
        doubt = jnp.any(first & loose)
        top = jnp.argmax(first & loose).astype(jnp.int32)
        top = jnp.where(doubt, top, lowest(s.value))
        far, at_top = s.value[top], jnp.arange(num, dtype=jnp.int32) == top
        tied = (far >= outside * (1 - TIE)) & (rows[top] < outside_row)
        pick = ~doubt & (far >= 0) & ((far > outside * (1 + TIE)) | tied)

        least, at = jax.lax.cond(
            doubt, check, lambda top, _: (far, s.near[top]), top, s.turn
        )
        checked = at_top & doubt
        value = jnp.where(checked, least, s.value)
        near = jnp.where(checked, at, s.near)
        rest = jnp.where(checked, least, s.rest)

        reach = jax.lax.cond(
            smooth, lambda: table[top], lambda: away(raw, raw[top][None])
        )
        reach = jnp.where(pick, reach, jnp.inf)
        closer = reach < value
        gone = at_top & pick
        return _State(
            value=jnp.where(gone, -1.0, jnp.minimum(value, reach)),
            near=jnp.where(closer, count + s.picks, near),
            rest=jnp.minimum(rest, jnp.maximum(reach, value)),
            exact=(s.exact | checked) & ~(smooth & (reach < value + margin)),
            turn=jnp.where(gone, s.picks, s.turn),
            squared=jnp.where(gone, far, s.squared),
            picks=s.picks + pick.astype(jnp.int32),
            more=pick | doubt,
        )

    begin = _State(
        value=jnp.where(known.bound < 0, -1.0, own),
        near=jnp.asarray(known.near),
        rest=jnp.asarray(known.rest),
        exact=jnp.ones(num, bool),
        turn=jnp.full(num, -1, jnp.int32),
        squared=jnp.zeros(num),
        picks=jnp.int32(0),
        more=jnp.bool_(True),
    )
    end = jax.lax.while_loop(lambda s: s.more & (s.picks < budget), turn, begin)
    last = jnp.where(end.turn < 0, jnp.int32(num), end.turn)
    order = jnp.argsort(last).astype(jnp.int32)
    # What is small beside `outside` may be large beside these.
    blur = jnp.where(smooth, error, 0.0)
    bound = end.value + jnp.where(end.exact, 0.0, blur)
    known = Known(jnp.where(end.value < 0, -1.0, bound), end.near, end.rest - blur)
    length = jnp.max(jnp.where(end.value >= 0, length, 0.0))
    found = _agreed((order, end.squared[order], end.picks, length, blur))
    centers = append(centers, points[found[0]], count, found[2], frame)
    return Settled(_agreed(known), centers, *found)


def _agreed(found: Any) -> Any:
    """What the first device found, on all of them: their rounding may differ."""
    first = jax.lax.axis_index("data") == 0
    return jax.tree.map(
        lambda x: jax.lax.psum(jnp.where(first, x, jnp.zeros_like(x)), "data"), found
    )


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
    factor, weight = products.prepare(points, frame, mode=mode)
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
    product = products.product(placed, placed.T)
    return jnp.maximum(length[:, None] + length[None] - 2 * product, 0.0)
