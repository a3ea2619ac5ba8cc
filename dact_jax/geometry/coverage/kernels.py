"""Similarities of points, all of them monotone in one product of two rows.

With y = x - origin, n = |y|^2 / scale^2 and d the Euclidean distance:

* gaussian: k = exp(-d^2 / scale^2), as in MaxHerding (Bae et al., ECCV 2024).
* top_hat: k = 1 where d <= scale, else 0, as in ProbCover (Yehuda et al., NeurIPS
  2022).
* cosine: k = max(cos, 0), the similarity of facility location; a row of zeros is
  similar to none. Opposite rows count as not similar at all, not as negative, so that
  the coverage of a point is 0 before the first pick and never decreases; 1 + cos would
  let any row cover half of every unrelated one.

k is a function of the exponent p, which is -d^2 / scale^2, or cos. Products compute p
as y_i z_a + t_i + t_a with z = 2 y / scale^2 and t = -n (cosine: y = z = x / |x|,
t = 0), with an error of at most `relative_error` times n_i + n_a (cosine: n = 1/2), see
`geometry.distances`. With the error added, k is an upper bound; with the error
subtracted, a lower bound.
"""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from dact_jax.geometry import distances

Name = Literal["gaussian", "top_hat", "cosine"]
NAMES = get_args(Name)
# Squared distances to scale^2 that agree to this share are equal for "top_hat".
EDGE = 2.0**-40
# Between them the square of a scale is a float64 without loss.
LEAST_SCALE, LARGEST_SCALE = 1e-150, 1e150
_SHORT = 2.0**-90  # squared norm, below which float32 may lose digits of it
_FAR = 4.0  # times the spread, the mean squared norm from which an origin is subtracted


class Kernel(NamedTuple):
    """A similarity of points with F features."""

    name: Name
    scale: float  # bandwidth or radius; 1 for cosine
    origin: np.ndarray  # float[F], subtracted from rows
    shifted: bool  # whether the origin is not 0


def make(name: Name, scale: float, sample: np.ndarray) -> Kernel:
    """The kernel of a name, for points like these.

    An origin is subtracted only from points far from 0: it costs a pass over the rows,
    but the errors of products grow with the distance from it.

    Args:
      name: one of NAMES.
      scale: positive.
      sample: float[n, F], points.
    """
    width = sample.shape[1]
    if name == "cosine":
        return Kernel("cosine", 1.0, np.zeros(width, sample.dtype), False)
    origin = np.median(sample, axis=0).astype(sample.dtype)
    squared = np.square(sample, dtype=np.float64).sum(1).mean()
    around = np.square(sample - origin, dtype=np.float64).sum(1).mean()
    shifted = bool(squared > _FAR * around)
    return Kernel(name, scale, origin if shifted else np.zeros_like(origin), shifted)


def placed(kernel: Kernel, points: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """dtype[n, F], y of points float[n, F]; perhaps the points themselves."""
    if kernel.name == "cosine":
        points = points.astype(dtype, copy=False)
        squared = np.einsum("nf,nf->n", points, points)
        if squared.min(initial=1) < _SHORT and dtype != np.float64:
            return placed(kernel, points, np.dtype(np.float64)).astype(dtype)
        norm = np.sqrt(squared)[:, None]
        return points / np.where(norm > 0, norm, 1).astype(dtype)
    if not kernel.shifted:
        return points.astype(dtype, copy=False)
    wider = np.promote_types(points.dtype, dtype)
    return np.subtract(points, kernel.origin, dtype=wider).astype(dtype, copy=False)


def other(kernel: Kernel, y: np.ndarray) -> np.ndarray:
    """z of placed points, the second factor of products."""
    return y if kernel.name == "cosine" else y * y.dtype.type(2 / kernel.scale**2)


def size(kernel: Kernel, points: np.ndarray) -> np.ndarray:
    """float64[n], n of points float[n, F], by which errors are measured."""
    if kernel.name == "cosine":
        return np.full(len(points), 0.5)
    y = placed(kernel, points, np.dtype(np.float64))
    return np.einsum("nf,nf->n", y, y) / kernel.scale**2


def term(kernel: Kernel, n: np.ndarray, width: int, mode: str, side: int) -> np.ndarray:
    """[n], t of points with sizes n, plus `side` (1, 0, -1) times the error of p.

    Args:
      kernel: of the products.
      n: float64[n], of `size`.
      width: F.
      mode: "float32" or "float64".
      side: 1 for upper bounds of k, -1 for lower bounds, 0 for neither.
    """
    t = np.zeros_like(n) if kernel.name == "cosine" else -n
    return (t + side * error(n, width, mode)).astype(mode)


def error(n: Any, width: int, mode: str) -> Any:
    """float64[n], the share of a point in the error of p and of what is made of it."""
    return distances.relative_error(width, mode) * n + distances.relative_error(0, mode)


def value(kernel: Kernel, exponent: np.ndarray) -> np.ndarray:
    """k of exponents, written into their array."""
    if kernel.name == "gaussian":
        np.minimum(exponent, 0, out=exponent)
        return np.exp(exponent, out=exponent)
    if kernel.name == "cosine":
        return np.maximum(exponent, 0, out=exponent)
    # -1 itself is covered, and what rounding makes of it.
    return np.greater_equal(exponent, -1 - EDGE, out=exponent)


def of_pairs(kernel: Kernel, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """float64[n], k of pairs of points [n, F], by differences: as exact as float64."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    if kernel.name == "cosine":
        wide = np.dtype(np.float64)
        left, right = placed(kernel, left, wide), placed(kernel, right, wide)
        return value(kernel, np.einsum("nf,nf->n", left, right))
    gap = left - right
    squared = np.einsum("nf,nf->n", gap, gap)
    return value(kernel, -squared / kernel.scale**2)
