"""The nearest and the second nearest of many centers, as `geometry.nearest`, in NumPy.

Every group of rows is compared with the centers of its own span, without padding to
tiles. The errors of `distances` hold whatever the order of additions, so here, too.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from dact_jax import vectors
from dact_jax.geometry import distances
from dact_jax.geometry.distances import Centers, Frame
from dact_jax.geometry.nearest import Survey, TwoNearest

# Numbers of the points, and of a product, at once. Fewer would stay in the cache of one
# core, but threads would wait for each other: Python runs between the calls.
_NUMBERS = 2**19
_MOST_ROWS = 4096


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
    placed = _to_frame(points, frame, centers.factor.dtype)
    error = placed.dtype.type(distances.relative_error(points.shape[1], mode))
    norm = (1 + error) * _squared_norm(placed) + error * distances.underflow(mode)
    centers.factor[count : count + len(points)] = -2 * placed
    centers.squared_norm[count : count + len(points)] = norm


def survey(
    read: Callable[[slice], np.ndarray],
    rows: slice,
    pivots: np.ndarray,
    centers: Centers,
    count: int,
    frame: Frame,
    *,
    mode: str,
) -> Survey:
    """Measures points and compares them with the first `count` centers.

    Args:
      read: rows -> their points float[n, F].
      rows: S of them.
      pivots: float32[cells, F], the means of the cells, in the frame.
      centers: NumPy arrays.
      count: of the centers to compare with.
      frame: of the products.
      mode: one of MODES.
    """
    dtype, (num, width) = centers.factor.dtype, pivots.shape
    pivots = pivots.astype(dtype)
    first = Centers(centers.factor[:count], centers.squared_norm[:count])
    # One product for pivots and centers: narrow products are slow.
    factor = np.concatenate([-pivots, first.factor])
    added = np.append(_squared_norm(pivots) / 2, first.squared_norm)

    def measure(part: slice) -> Survey:
        part = slice(rows.start + part.start, rows.start + part.stop)
        placed = _to_frame(read(part), frame, dtype)
        squared_norm = _squared_norm(placed)
        products = placed @ factor.T
        products += added
        cell = products[:, :num].argmin(1).astype(np.int32)
        squared = products[:, num:]
        if mode == "differences":
            squared = _squared(placed, first, slice(None), mode)
        valid = squared_norm < vectors.MAX_SQUARED_NORM
        norm = squared_norm.astype(np.float64)
        return Survey(norm, valid, cell, _two_least(squared))

    with np.errstate(over="ignore", invalid="ignore"):  # told by `valid`
        found = [
            measure(part) for part in parts(rows.stop - rows.start, at_once(width))
        ]
        return _joined(found)


def two_nearest(
    read: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    groups: Iterable[tuple[slice, slice]],
    order: np.ndarray | None,
    centers: Centers,
    frame: Frame,
    *,
    mode: str,
) -> TwoNearest:
    """Compares groups of rows with centers order[first:last].

    Args:
      read: rows int[n] -> a copy of their points float[n, F].
      rows: int[S].
      groups: consecutive parts of the rows, with first and last of each.
      order: int32[C], numbers of centers; None: all, in their order. With an order only
        the nearest is searched for: `second` may be too large.
      centers: NumPy arrays.
      frame: of the products.
      mode: one of MODES.
    """
    dtype = centers.factor.dtype

    def compare(group: slice, span: slice) -> TwoNearest:
        number = np.full(group.stop - group.start, -1, np.int32)
        infinite = np.full(len(number), np.inf, dtype)
        best = TwoNearest(infinite, number, infinite.copy())
        if span.start >= span.stop:
            return best
        placed = _to_frame(read(rows[group]), frame, dtype)
        for part in parts(span.stop - span.start, max(1, _NUMBERS // len(placed))):
            at = slice(span.start + part.start, span.start + part.stop)
            if order is None:
                new = _two_least(_squared(placed, centers, at, mode))
                new = new._replace(center=new.center + np.int32(at.start))
            else:
                new = _least(_squared(placed, centers, order[at], mode))
                new = new._replace(center=order[at][new.center])
            best = _nearer(best, new)
        return best

    return _joined([compare(*group) for group in groups])


def _nearer(a: TwoNearest, b: TwoNearest) -> TwoNearest:
    """The two nearest of different centers."""
    second = np.minimum(np.minimum(a.second, b.second), np.maximum(a.bound, b.bound))
    center = np.where(b.bound < a.bound, b.center, a.center)
    return TwoNearest(np.minimum(a.bound, b.bound), center, second)


def _two_least(squared: np.ndarray) -> TwoNearest:
    """The two least of bounds [points, centers], which are written to."""
    nearest = _least(squared)
    squared[np.arange(len(squared)), nearest.center] = np.inf
    return nearest._replace(second=squared.min(1))


def _least(squared: np.ndarray) -> TwoNearest:
    """The least of bounds [points, centers]."""
    center = squared.argmin(1).astype(np.int32)
    least = squared[np.arange(len(squared)), center]
    return TwoNearest(least, center, np.full_like(least, np.inf))


def _joined(parts: list[Any]) -> Any:
    """One tuple of arrays of all rows, from the tuples of consecutive rows."""
    return jax.tree.map(lambda *values: np.concatenate(values), *parts)


def at_once(width: int) -> int:
    """How many rows of a width are read and multiplied at once."""
    return min(_MOST_ROWS, max(1, _NUMBERS // width))


def parts(num: int, size: int) -> Iterator[slice]:
    """Yields consecutive slices of `size` of `num` rows; the last may be shorter."""
    for first in range(0, num, size):
        yield slice(first, min(first + size, num))


def _squared(
    placed: np.ndarray, centers: Centers, columns: slice | np.ndarray, mode: str
) -> np.ndarray:
    """[points, centers], upper bounds of squared distances, as in `TwoNearest`."""
    factor = centers.factor[columns]
    if mode == "differences":
        error = distances.relative_error(placed.shape[1], mode)
        squared = [_squared_norm(placed + row / 2) for row in factor]
        return (1 + error) * np.stack(squared, 1)
    products = placed @ factor.T
    products += centers.squared_norm[columns]
    return products


def _to_frame(points: np.ndarray, frame: Frame, dtype: np.dtype[Any]) -> np.ndarray:
    """dtype[n, F], points float[n, F] in the coordinates of the frame."""
    # Rounded to float32 after the origin is subtracted, which float64 points may need.
    wider = np.promote_types(points.dtype, dtype)
    placed = np.subtract(points, frame.origin, dtype=wider)
    if frame.scale != 1:
        placed *= wider.type(frame.scale)
    return placed.astype(dtype, copy=False)


def _squared_norm(placed: np.ndarray) -> np.ndarray:
    return np.einsum("nf,nf->n", placed, placed)
