"""Squared distances by matrix products, with errors that are bounded.

|x|^2 + |c|^2 - 2 x c, of points that are centred and scaled first. Each is rounded up
by the largest error that rounding can make, whatever the order of additions (Higham,
Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), so that it is an
upper bound of the true one.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from dact_jax.types import Array

LONGEST = 2.0**120  # squared length of a point that products in float32 can bear
# How distances are computed, in the order of precision (and of cost).
MODES = ("float32", "float64", "differences")
_MEDIAN = 128  # at least so many points tell where the middle is
_SHORT = 64  # features; XLA's sums of shorter rows are slow on CPUs


class Frame(NamedTuple):
    """Where points are moved before products: (x - origin) * scale."""

    origin: Array  # float32[F]
    scale: Array  # float32[], a power of two, so that nothing is rounded by it


class Centers(NamedTuple):
    """Centres in the order chosen; rows beyond their number are padding."""

    factor: jax.Array  # [C, F], -2 times the centre in the frame; 0 as padding
    weight: jax.Array  # [C], its squared length, rounded up; inf as padding


def frame(some: np.ndarray) -> Frame:
    """A frame in which points like these lie around 0, within -1 .. 1.

    The origin is a median, which a few far points do not move: the error of a product
    grows with the distance from there. Any frame is right, only less tight.

    Args:
      some: float32[n, F], finite points.
    """
    few = some[:: max(1, len(some) // _MEDIAN)]
    origin = np.median(few, axis=0).astype(np.float32)
    spread = float(np.abs(some - origin).max())
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


def own(length: Array, width: int, mode: str) -> Array:
    """float64[n], a point's own part of upper bounds: products are without it.

    Args:
      length: float64[n], |x|^2 in the frame.
      width: F.
      mode: one of MODES.
    """
    if mode == "differences":
        return np.zeros_like(length)
    up = slack(width, mode)
    return (1 + up) * length + up * floor(mode)


def error(length: Array, mode: str) -> Array:
    """float64[n], the length that `lower` takes: 0 where it causes no error.

    Args:
      length: float64[n], |x|^2 in the frame.
      mode: one of MODES.
    """
    return np.zeros_like(length) if mode == "differences" else length + floor(mode)


def floor(mode: str) -> float:
    """Length squared that stands in errors for what underflows: F products of it.

    Args:
      mode: one of MODES.
    """
    return 2.0**-96 if mode == "float32" else 2.0**-960


@functools.partial(jax.jit, donate_argnames="centers", static_argnames="mode")
def append(
    centers: Centers,
    points: jax.Array,
    order: jax.Array,
    count: jax.Array,
    num: jax.Array,
    frame: Frame,
    *,
    mode: str,
) -> Centers:
    """The centres with the first `num` of some points behind the `count` there are.

    Args:
      centers: with room for all the points.
      points: float32[n, F].
      order: int32[n], in which they are taken.
      count: int32[].
      num: int32[].
      frame: of the products.
      mode: one of MODES.
    """
    placed = place(points[order], frame, centers.factor.dtype)
    up = jnp.asarray(slack(points.shape[-1], mode), placed.dtype)
    weight = (1 + up) * squared_length(placed) + up * floor(mode)
    real = jnp.arange(len(points), dtype=jnp.int32) < num
    put = jax.lax.dynamic_update_slice
    factor = jnp.where(real[:, None], -2 * placed, 0)
    weight = jnp.where(real, weight, jnp.inf)
    return Centers(
        put(centers.factor, factor, (count, jnp.int32(0))),
        put(centers.weight, weight, (count,)),
    )


def place(points: jax.Array, frame: Frame, dtype: DTypeLike) -> jax.Array:
    """The points in the frame, [n, F].

    Args:
      points: float32[n, F].
      frame: their new place.
      dtype: of the result.
    """
    origin = jnp.asarray(frame.origin, dtype)
    return (points.astype(dtype) - origin[None]) * jnp.asarray(frame.scale, dtype)


def squared_length(points: jax.Array) -> jax.Array:
    """[n], of [n, F]."""
    if points.shape[-1] < _SHORT:
        return product(points * points, jnp.ones(points.shape[-1], points.dtype))
    return jnp.sum(points * points, -1)


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """The matrix product in the full precision of its dtype, which `slack` counts on.

    Args:
      left: [n, F].
      right: [F, m] or [F].
    """
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
