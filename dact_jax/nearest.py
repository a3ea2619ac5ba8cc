"""The nearest and the second nearest of many centres, with errors that are bounded.

Squared distances come from matrix products, |x|^2 + |c|^2 - 2 x c, of points that are
centred and scaled first. Each is rounded up by the largest error that rounding can
make, whatever the order of additions (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, section 3.1), so that it is an upper bound of the true one.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from dact_jax.types import Array

GROUP = 1024  # points compared with one tile of centres after another
TILE = 64  # centres in a tile

_ROWS, _ALL = PartitionSpec("data"), PartitionSpec()
LONGEST = 2.0**120  # squared length of a point that products in float32 can bear
# How distances are computed, in the order of precision (and of cost).
MODES = ("float32", "float64", "differences")


class Frame(NamedTuple):
    """Where points are moved before products: (x - origin) * scale."""

    origin: Array  # float32[F]
    scale: Array  # float32[], a power of two, so that nothing is rounded by it


class Centers(NamedTuple):
    """Centres in the order chosen; rows beyond their number are padding."""

    point: jax.Array  # float32[C, F], as given
    factor: jax.Array  # [C, F], -2 times the centre in the frame; 0 as padding
    weight: jax.Array  # [C], its squared length, rounded up; inf as padding


class Found(NamedTuple):
    """What a block of points found among the centres it was compared with."""

    least: Array  # float64[S], upper bound of the squared distance to `at`
    at: Array  # int32[S], the nearest of them; -1: compared with none
    second: Array  # float64[S], the same bound for the nearest of the others
    length: Array  # float64[S], |x|^2 in the frame; 0 where it causes no error
    finite: Array  # bool[S], false for a point that is not, or is longer than LONGEST


def frame(some: np.ndarray) -> Frame:
    """A frame in which points like these lie around 0, within -1 .. 1.

    The origin is a median, which a few far points do not move: the error of a product
    grows with the distance from there. Any frame is right, only less tight.

    Args:
      some: float32[n, F], finite points.
    """
    origin = np.median(some, axis=0).astype(np.float32)
    spread = np.abs(some.astype(np.float64) - origin).max()
    # Never enlarged: a point far beyond these must not overflow.
    scale = 2.0 ** -np.ceil(np.log2(max(spread, 1.0)))
    return Frame(origin, np.asarray(scale, np.float32))


def lower(upper: Array, length: Array, slack: float) -> Array:
    """float64[n], lower bounds of the squared distances d^2 that have these upper ones.

    They differ by twice the slack times |x|^2 + |c|^2, where |c|^2 is at most
    2 (|x|^2 + d^2), by the triangle inequality: so a far centre costs only itself.

    Args:
      upper: float64[n].
      length: float64[n], |x|^2; 0 for differences.
      slack: of the mode.
    """
    return upper * (1 - 4 * slack) - 6 * slack * length


def slack(width: int, mode: str) -> float:
    """Largest error of a squared distance, in units of |x|^2 + |c|^2.

    2 F u for the three inner products, 4 u for the rounding of points into the frame,
    the rest for the last additions; u is the unit roundoff. (Differences err by
    (F + 4) u times the squared distance itself, which is at most twice that sum.)

    Args:
      width: F.
      mode: one of MODES.
    """
    unit = 2.0**-53
    if mode == "float32":
        # A TPU multiplies float32 as six bfloat16 products: a few bits less.
        unit = 2.0**-21 if jax.default_backend() == "tpu" else 2.0**-24
    return (2 * width + 16) * unit


def floor(mode: str) -> float:
    """Length squared that stands in errors for what underflows: F products of it.

    Args:
      mode: one of MODES.
    """
    return 2.0**-96 if mode == "float32" else 2.0**-960


@functools.partial(jax.jit, static_argnames="mode")
def prepare(points: jax.Array, frame: Frame, *, mode: str) -> tuple:
    """(factor [C, F], weight [C]) of centres.

    Args:
      points: float32[C, F].
      frame: of the products.
      mode: one of MODES.
    """
    dtype = jnp.float32 if mode == "float32" else jnp.float64
    placed = place(points, frame, dtype)
    up = jnp.asarray(slack(points.shape[-1], mode), dtype)
    return -2 * placed, (1 + up) * squared_length(placed) + up * floor(mode)


def place(points: jax.Array, frame: Frame, dtype: jnp.dtype) -> jax.Array:
    """The points in the frame, [n, F].

    Args:
      points: float32[n, F].
      frame: their new place.
      dtype: of the result.
    """
    origin = jnp.asarray(frame.origin, dtype)
    return (points.astype(dtype) - origin[None]) * jnp.asarray(frame.scale, dtype)


def squared_length(points: jax.Array) -> jax.Array:
    """[n], of [n, F]: as a product, since XLA's sums of short rows are slow on CPUs."""
    return product(points * points, jnp.ones(points.shape[-1], points.dtype))


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """The matrix product in the full precision of its dtype, which `slack` counts on.

    Args:
      left: [n, F].
      right: [F, m] or [F].
    """
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


@functools.partial(jax.jit, static_argnames=("over", "mode", "tile", "group"))
def two_nearest(
    points: jax.Array,
    first: jax.Array,
    centers: Centers,
    count: jax.Array,
    frame: Frame,
    *,
    over: Mesh,
    mode: str,
    tile: int = TILE,
    group: int = GROUP,
) -> Found:
    """Compares points with centres `first` .. `count` - 1, and perhaps some before.

    Args:
      points: float32[S, F], split over the devices; on each a multiple of `group`.
      first: int32[S / group] for each group, split too.
      centers: on every device; room for `tile` more than `count`.
      count: int32[], how many centres there are.
      frame: of the products.
      over: the devices.
      mode: one of MODES.
      tile: centres compared at once.
      group: points compared at once.
    """

    def local(
        points: jax.Array, first: jax.Array, centers: Centers, count: jax.Array
    ) -> Found:
        groups = points.reshape(-1, group, points.shape[-1])
        found = jax.lax.map(
            lambda one: _group(one[0], one[1], centers, count, frame, mode, tile),
            (groups, first),
        )
        gather = functools.partial(jax.lax.all_gather, axis_name="data", tiled=True)
        return jax.tree.map(lambda x: gather(x.reshape(-1)), found)

    specs = (_ROWS, _ROWS, _ALL, _ALL)
    mapped = jax.shard_map(
        local, mesh=over, in_specs=specs, out_specs=_ALL, check_vma=False
    )
    return mapped(points, first, centers, count)


def _group(
    points: jax.Array,
    first: jax.Array,
    centers: Centers,
    count: jax.Array,
    frame: Frame,
    mode: str,
    tile: int,
) -> Found:
    dtype = centers.factor.dtype
    placed = place(points, frame, dtype)  # [G, F]
    length = squared_length(placed)  # [G]
    infinite = jnp.asarray(jnp.inf, dtype)
    up = jnp.asarray(slack(points.shape[-1], mode), dtype)

    def measure(start: jax.Array) -> jax.Array:
        """Upper bounds [T, G]; in products without the point's own part."""
        weight = jax.lax.dynamic_slice(centers.weight, (start,), (tile,))[:, None]
        size = (tile, points.shape[-1])
        factor = jax.lax.dynamic_slice(centers.factor, (start, jnp.int32(0)), size)
        if mode == "differences":
            away = jnp.sum((placed[None] + factor[:, None] / 2) ** 2, -1)
            return jnp.where(weight < infinite, (1 + up) * away, infinite)
        return weight + product(placed, factor.T).T

    def compare(state: tuple) -> tuple:
        start, least, at, second = state
        far = measure(start)
        number = start + jnp.arange(tile, dtype=jnp.int32)[:, None]
        low = jnp.min(far, 0)
        here = jnp.max(jnp.where(far == low[None], number, -1), 0)
        other = jnp.min(jnp.where(number == here[None], infinite, far), 0)
        second = jnp.minimum(jnp.minimum(second, other), jnp.maximum(low, least))
        at = jnp.where(low < least, here, at)
        return start + tile, jnp.minimum(least, low), at, second

    nothing = jnp.full(len(points), infinite)
    begin = (first, nothing, jnp.full(len(points), -1, jnp.int32))
    state = jax.lax.while_loop(lambda s: s[0] < count, compare, (*begin, nothing))
    _, least, at, second = state
    if mode == "differences":
        error = jnp.zeros_like(length)
    else:
        error = length + floor(mode)
        own = (1 + up) * length + up * floor(mode)
        least, second = least + own, second + own
    wide = functools.partial(jnp.asarray, dtype=jnp.float64)
    return Found(wide(least), at, wide(second), wide(error), length < LONGEST)
