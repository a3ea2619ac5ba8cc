"""Squared distances by matrix products, with bounded rounding errors.

|x|^2 + |c|^2 - 2 x c, of points that are centered and scaled first. Each value is
rounded up by the largest error that rounding can cause, whatever the order of additions
(Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), so that it
is an upper bound of the exact squared distance.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from dact_jax.types import Array

# How distances are computed, in increasing order of precision and cost.
MODES = ("float32", "float64", "differences")
_MEDIAN_ROWS = 128  # least number of rows of which the median is taken
# Least share of the points' mean squared norm that the points, centered, must have so
# that they are not moved: products err by a share of the norm.
_CENTERED_SHARE = 0.25
_PLAIN_SPREAD = 2.0**16  # largest coordinate of points that are not scaled
_NARROW = 64  # features; XLA's sums over shorter rows are slow on CPUs


class Frame(NamedTuple):
    """The affine map applied to points before products: (x - origin) * scale."""

    origin: Array  # float[F], of the points' dtype
    scale: Array  # float32[], a power of two, so that scaling does not round


class Centers(NamedTuple):
    """Centers in the order chosen, followed by padding."""

    factor: Array  # [C, F], -2 times the center in the frame; padding: 0
    squared_norm: Array  # [C], of the center, rounded up; padding: inf


def make_frame(sample: np.ndarray) -> Frame:
    """A frame in which products of points like these err little.

    The error of a product grows with the distance from the origin: that is the median,
    which a few far points do not move, and points lie within -1 .. 1. Points that lie
    around 0 already, as those of most networks, stay as they are, so that nothing has
    to be computed to place them. Bounds hold in any frame, but are looser.

    Args:
      sample: float[n, F], finite points.
    """
    rows = sample[:: max(1, len(sample) // _MEDIAN_ROWS)]
    origin = np.median(rows, axis=0).astype(sample.dtype)
    centered = (sample - origin).astype(np.float64)
    norm = np.square(centered).mean(), np.square(sample, dtype=np.float64).mean()
    if np.abs(sample).max() <= _PLAIN_SPREAD and norm[0] >= _CENTERED_SHARE * norm[1]:
        return Frame(np.zeros_like(origin), np.ones((), np.float32))
    spread = float(np.abs(centered).max())
    # Never enlarge: a point far beyond the sample must not overflow.
    scale = 2.0 ** -np.ceil(np.log2(max(spread, 1.0)))
    return Frame(origin, np.asarray(scale, np.float32))


def lower_bound(upper: Array, scale: Array, error: float) -> Array:
    """float64[n], lower bounds of the squared distances d^2 with these upper bounds.

    The two differ by twice the error times |x|^2 + |c|^2, where |c|^2 is at most
    2 (|x|^2 + d^2) by the triangle inequality: a far center loosens only its own bound.

    Args:
      upper: float64[n].
      scale: float64[n], of `error_scale`.
      error: `relative_error` of the mode.
    """
    return upper * (1 - 4 * error) - 6 * error * scale


def relative_error(width: int, mode: str) -> float:
    """Largest error of a squared distance, as a share of |x|^2 + |c|^2.

    2 F u for the three inner products, 4 u for rounding the points into the frame, the
    remainder for the last additions; u is the unit roundoff. (Differences err by
    (F + 4) u times the squared distance itself, which is at most twice that sum.)

    Args:
      width: F.
      mode: one of MODES.
    """
    unit = 2.0**-53
    if mode == "float32":
        # A TPU multiplies float32 as six bfloat16 products and loses a few bits.
        unit = 2.0**-21 if jax.default_backend() == "tpu" else 2.0**-24
    return (2 * width + 16) * unit


def point_term(squared_norm: Array, width: int, mode: str) -> Array:
    """float64[n], the term of an upper bound that depends on the point alone.

    Bounds by products leave it out on the devices; it is 0 for differences.

    Args:
      squared_norm: float64[n], |x|^2 in the frame.
      width: F.
      mode: one of MODES.
    """
    if mode == "differences":
        return np.zeros_like(squared_norm)
    error = relative_error(width, mode)
    return (1 + error) * squared_norm + error * underflow(mode)


def error_scale(squared_norm: Array, mode: str) -> Array:
    """float64[n], |x|^2 as `lower_bound` needs it; 0 for differences.

    Args:
      squared_norm: float64[n], |x|^2 in the frame.
      mode: one of MODES.
    """
    if mode == "differences":
        return np.zeros_like(squared_norm)
    return squared_norm + underflow(mode)


def underflow(mode: str) -> float:
    """Squared norm added in error bounds for F products that may underflow.

    Args:
      mode: one of MODES.
    """
    return 2.0**-96 if mode == "float32" else 2.0**-960


@functools.partial(jax.jit, donate_argnames="centers", static_argnames="mode")
def append_centers(
    centers: Centers,
    points: jax.Array,
    order: jax.Array,
    count: jax.Array,
    num: jax.Array,
    frame: Frame,
    *,
    mode: str,
) -> Centers:
    """Writes points[order[:num]] behind the first `count` centers.

    Args:
      centers: with room for n more.
      points: float[n, F].
      order: int32[n].
      count: int32[], centers so far.
      num: int32[], centers to append.
      frame: of the products.
      mode: one of MODES.
    """
    placed = to_frame(points[order], frame, centers.factor.dtype)
    error = jnp.asarray(relative_error(points.shape[-1], mode), placed.dtype)
    norm = (1 + error) * squared_norm(placed) + error * underflow(mode)
    appended = jnp.arange(len(points), dtype=jnp.int32) < num
    put = jax.lax.dynamic_update_slice
    factor = jnp.where(appended[:, None], -2 * placed, 0)
    norm = jnp.where(appended, norm, jnp.inf)
    return Centers(
        put(centers.factor, factor, (count, jnp.int32(0))),
        put(centers.squared_norm, norm, (count,)),
    )


def to_frame(points: jax.Array, frame: Frame, dtype: DTypeLike) -> jax.Array:
    """dtype[n, F], points float[n, F] in the coordinates of the frame."""
    # Rounded to float32 after the origin is subtracted, which float64 points may need.
    wider = np.promote_types(points.dtype, dtype)
    origin = jnp.asarray(frame.origin, wider)
    placed = (points.astype(wider) - origin[None]) * jnp.asarray(frame.scale, wider)
    return placed.astype(dtype)


def pairwise(a: jax.Array, b: jax.Array) -> jax.Array:
    """float[A, B], squared distances between the rows of two matrices, by one product.

    They carry the rounding error of the product. Two more implementations differ in
    their rounding on purpose: the table of `candidates` is float64 on the host, and
    `methods.jan` centers its points first, with less cancellation.
    """
    norms = squared_norm(a)[:, None] + squared_norm(b)[None]
    return jnp.maximum(norms - 2 * product(a, b.T), jnp.asarray(0, norms.dtype))


def squared_norm(points: jax.Array) -> jax.Array:
    """[n], of [n, F]."""
    if points.shape[-1] < _NARROW:
        return product(points * points, jnp.ones(points.shape[-1], points.dtype))
    return jnp.sum(points * points, -1)


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """The matrix product in the full precision of its dtype, as the bounds require.

    Args:
      left: [n, F].
      right: [F, m] or [F].
    """
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
