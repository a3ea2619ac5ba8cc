"""Squared distances of points to centers, by products in NumPy.

The errors of `distances` hold whatever the order of additions, so here, too.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from dact_jax.geometry import distances
from dact_jax.geometry.distances import Centers, Frame

# Largest products, in numbers and in operations, that BLAS computes without copying
# what it multiplies first: where factors are few, that takes half of the time.
_SMALL_NUMBERS = 1024
_SMALL_OPERATIONS = 900_000
_SMALL_ROWS = 64  # at most
_FEWEST_ROWS = 8


def append_centers(
    centers: Centers, points: np.ndarray, count: int, frame: Frame, *, mode: str
) -> None:
    """Writes points behind the first `count` centers.

    Args:
      centers: NumPy arrays.
      points: float[n, F].
      count: centers so far.
      frame: of the products.
      mode: one of MODES.
    """
    placed = to_frame(points, frame, centers.factor.dtype)
    error = placed.dtype.type(distances.relative_error(points.shape[1], mode))
    norm = (1 + error) * squared_norm(placed) + error * distances.underflow(mode)
    centers.factor[count : count + len(points)] = -2 * placed
    centers.squared_norm[count : count + len(points)] = norm


def squared(
    placed: np.ndarray, centers: Centers, columns: slice | np.ndarray, mode: str
) -> np.ndarray:
    """[points, centers], upper bounds of squared distances, as in `TwoNearest`."""
    factor = np.asarray(centers.factor)[columns]
    if mode == "differences":
        error = distances.relative_error(placed.shape[1], mode)
        by_center = [squared_norm(placed + row / 2) for row in factor]
        return (1 + error) * np.stack(by_center, 1)
    products = multiply(placed, factor)
    products += centers.squared_norm[columns]
    return products


def multiply(points: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """[n, m], the products of points [n, F] and factors [m, F].

    By few points at a time where there are few factors; in one call of NumPy.
    """
    (num, width), columns = points.shape, len(factor)
    rows = min(
        _SMALL_ROWS,
        _SMALL_NUMBERS // columns,
        _SMALL_OPERATIONS // (columns * width),
    )
    if rows < _FEWEST_ROWS or num <= rows or columns == 1:
        return points @ factor.T
    products = np.empty((num, columns), points.dtype)
    whole = num // rows * rows
    stacked = points[:whole].reshape(-1, rows, width)
    np.matmul(stacked, factor.T, out=products[:whole].reshape(-1, rows, columns))
    np.matmul(points[whole:], factor.T, out=products[whole:])
    return products


def to_frame(points: np.ndarray, frame: Frame, dtype: np.dtype[Any]) -> np.ndarray:
    """dtype[n, F], points float[n, F] in the coordinates of the frame."""
    if points.dtype == dtype and frame.scale == 1 and not np.any(frame.origin):
        return points
    # Rounded to float32 after the origin is subtracted, which float64 points may need.
    wider = np.promote_types(points.dtype, dtype)
    placed = np.subtract(points, frame.origin, dtype=wider)
    if frame.scale != 1:
        placed *= wider.type(frame.scale)
    return placed.astype(dtype, copy=False)


def squared_norm(points: np.ndarray) -> np.ndarray:
    """[n], of [n, F]."""
    return np.einsum("nf,nf->n", points, points)


def parts(num: int, size: int) -> Iterator[slice]:
    """Yields consecutive slices of `size` of `num` rows; the last may be shorter."""
    for first in range(0, num, size):
        yield slice(first, min(first + size, num))
