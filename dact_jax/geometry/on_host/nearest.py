"""The nearest and the second nearest of many centers, as `geometry.nearest`, in NumPy.

Every group of rows is compared with the centers of its own span, without padding to
tiles. Threads take a piece of the rows each, one that stays in the cache of a core.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from dact_jax import vectors
from dact_jax.geometry.distances import Centers, Frame
from dact_jax.geometry.nearest import Survey, TwoNearest
from dact_jax.geometry.on_host import products, workers

_NUMBERS = 2**19  # of the points that are read at once
_PRODUCTS = 2**19  # numbers of a product, at most
_MOST_ROWS = 4096
Group = tuple[slice, slice]  # rows, and the centers that these are compared with


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
    added = np.append(products.squared_norm(pivots) / 2, first.squared_norm)

    def measure(part: slice) -> Survey:
        part = slice(rows.start + part.start, rows.start + part.stop)
        with np.errstate(over="ignore", invalid="ignore"):  # told by `valid`
            placed = products.to_frame(read(part), frame, dtype)
            squared_norm = products.squared_norm(placed)
            squared = products.multiply(placed, factor)
            squared += added
            cell = squared[:, :num].argmin(1).astype(np.int32)
            squared = squared[:, num:]
            if mode == "differences":
                squared = products.squared(placed, first, slice(None), mode)
            valid = squared_norm < vectors.MAX_SQUARED_NORM
            norm = squared_norm.astype(np.float64)
            return Survey(norm, valid, cell, _two_least(squared))

    found = workers.run(measure, products.parts(rows.stop - rows.start, at_once(width)))
    return _joined(found)


def two_nearest(
    read: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    groups: Iterable[Group],
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
    dtype, num = centers.factor.dtype, len(rows)
    best = TwoNearest(
        np.full(num, np.inf, dtype),
        np.full(num, -1, np.int32),
        np.full(num, np.inf, dtype),
    )

    def compare(piece: list[Group]) -> None:
        first = piece[0][0].start
        points = read(rows[first : piece[-1][0].stop])
        placed = products.to_frame(points, frame, dtype)
        for group, span in piece:
            own = placed[group.start - first : group.stop - first]
            found = _nearest(own, span, order, centers, mode)
            for kept, values in zip(best, found, strict=True):
                kept[group] = values

    workers.run(compare, _pieces(groups, at_once(centers.factor.shape[1])))
    return best


def _pieces(groups: Iterable[Group], most: int) -> Iterator[list[Group]]:
    """Yields consecutive groups of at most `most` rows in all.

    Groups that are compared with no center are left out.
    """
    piece: list[Group] = []
    for group, span in groups:
        if piece and group.stop - piece[0][0].start > most:
            yield piece
            piece = []
        if span.start < span.stop:
            piece.append((group, span))
    if piece:
        yield piece


def _nearest(
    placed: np.ndarray,
    span: slice,
    order: np.ndarray | None,
    centers: Centers,
    mode: str,
) -> TwoNearest:
    """Compares points [n, F] in the frame with centers order[span], at least one."""
    best = None
    for part in products.parts(
        span.stop - span.start, max(1, _PRODUCTS // len(placed))
    ):
        at = slice(span.start + part.start, span.start + part.stop)
        if order is None:
            new = _two_least(products.squared(placed, centers, at, mode))
            new = new._replace(center=new.center + np.int32(at.start))
        else:
            new = _least(products.squared(placed, centers, order[at], mode))
            new = new._replace(center=order[at][new.center])
        best = new if best is None else _nearer(best, new)
    assert best is not None
    return best


def _nearer(a: TwoNearest, b: TwoNearest) -> TwoNearest:
    """The two nearest of different centers."""
    second = np.minimum(np.minimum(a.second, b.second), np.maximum(a.bound, b.bound))
    center = np.where(b.bound < a.bound, b.center, a.center)
    return TwoNearest(np.minimum(a.bound, b.bound), center, second)


def _two_least(squared: np.ndarray) -> TwoNearest:
    """The two least of bounds [points, centers], which are written to."""
    nearest = _least(squared)
    if squared.shape[1] == 1:
        return nearest
    squared[np.arange(len(squared)), nearest.center] = np.inf
    return nearest._replace(second=squared.min(1))


def _least(squared: np.ndarray) -> TwoNearest:
    """The least of bounds [points, centers]."""
    center = squared.argmin(1)
    least = squared[np.arange(len(squared)), center]
    return TwoNearest(least, center.astype(np.int32), np.full_like(least, np.inf))


def _joined(parts: list[Any]) -> Any:
    """One tuple of arrays of all rows, from the tuples of consecutive rows."""
    return jax.tree.map(lambda *values: np.concatenate(values), *parts)


def at_once(width: int) -> int:
    """How many rows of a width are read and multiplied at once."""
    return min(_MOST_ROWS, max(1, _NUMBERS // width))
