"""Similarities of blocks of points by products, and how they are rounded."""

import math
from collections.abc import Iterator

import numpy as np

from dact_jax.geometry.coverage import kernels, targets
from dact_jax.geometry.coverage.targets import Targets


def rounded(coverage: np.ndarray, mode: str, *, up: bool) -> np.ndarray:
    """dtype[M], rounded up or down."""
    near = coverage.astype(mode)
    wrong = near < coverage if up else near > coverage
    return np.where(wrong, np.nextafter(near, near.dtype.type(2 * up - 1)), near)


def inflate(state: Targets, total: np.ndarray, count: int, mode: str) -> np.ndarray:
    """Sums of products and what rounding may have lost; less it, if count < 0.

    Args:
      state: the points.
      total: float64[m].
      count: products in each sum that are added up in the dtype of the mode.
      mode: "float32" or "float64".
    """
    if state.whole:
        return total
    unit = 2.0**-24 if mode == "float32" else 2.0**-53
    return total * (1 + (count + math.copysign(16, count)) * unit)


def parts(num: int, size: int) -> Iterator[slice]:
    """Yields consecutive slices of `size` of `num` points; the last may be shorter."""
    for first in range(0, num, size):
        yield slice(first, min(first + size, num))


def second(
    state: Targets, at: np.ndarray | slice, mode: str, *, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """(z dtype[m, F], term dtype[m]) of points, for `similar`."""
    y = kernels.placed(state.kernel, targets.read(state, at), np.dtype(mode))
    return kernels.other(state.kernel, y), term(state, at, mode, side)


def term(state: Targets, at: np.ndarray | slice, mode: str, side: int) -> np.ndarray:
    """dtype[m], `kernels.term` of points."""
    return kernels.term(state.kernel, state.size[at], state.pool.width, mode, side)


def similar(
    state: Targets,
    part: slice | np.ndarray,
    z: np.ndarray,
    z_term: np.ndarray,
    mode: str,
    *,
    side: int,
) -> np.ndarray:
    """dtype[n, m], k of points and others, or its bound.

    Args:
      state: the points.
      part: numbers of n points.
      z: of `second`, with the same mode and side.
      z_term: likewise.
      mode: "float32" or "float64".
      side: 1 for upper bounds, -1 for lower bounds, 0 for neither.
    """
    y = kernels.placed(state.kernel, targets.read(state, part), np.dtype(mode))
    return value(state, y @ z.T, term(state, part, mode, side)[:, None], z_term)


def value(
    state: Targets, product: np.ndarray, y_term: np.ndarray, z_term: np.ndarray
) -> np.ndarray:
    """dtype[n, m], k of products [n, m], written into their array."""
    product += y_term
    product += z_term
    return kernels.value(state.kernel, product)
