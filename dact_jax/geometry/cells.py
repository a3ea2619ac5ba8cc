"""Cells: a coarse partition of a pool by the nearest of a few pivots.

Among the centres of its own cell a point mostly finds one that is about as near as its
nearest of all, for a small share of the products. Cells only say what is compared
first: whatever they are, bounds hold.
"""

from typing import NamedTuple

import numpy as np

MOST = 16  # more cells: fewer products, but more points that lie at the edge of one
_CENTERS = 8  # fewest centres of a cell, on the average, for which it pays
_STEPS = 5  # of Lloyd's algorithm
_TELLING = 0.1  # least share of the spread that cells must explain


class Table(NamedTuple):
    """The centres by cell."""

    order: np.ndarray  # int32[C], their numbers, by cell and then by number; padding
    key: np.ndarray  # int64[count], cell * C + number, ascending


def number(centers: int) -> int:
    """How many cells pay in the end.

    Args:
      centers: how many there will be.
    """
    return min(MOST, max(1, centers // _CENTERS))


def pivots(some: np.ndarray, num: int) -> np.ndarray:
    """float32[num, F], means of k-means; all the same, where cells tell nothing.

    Args:
      some: float32[n, F], points.
      num: of the pivots.
    """
    mean = some.mean(0)
    alike = np.broadcast_to(mean, (num, len(mean)))
    if num == 1:
        return alike
    means = some[np.linspace(0, len(some) - 1, num).astype(int)]
    for _ in range(_STEPS):
        own = np.arange(num)[:, None] == _nearest(some, means)
        size = own.sum(-1, dtype=np.float32)[:, None]
        means = np.where(size > 0, own.astype(np.float32) @ some, means)
        means /= np.maximum(size, 1)
    left = np.square(some - means[_nearest(some, means)]).sum()
    spread = np.square(some - mean).sum()
    return means if left < (1 - _TELLING) * spread else alike


def _nearest(some: np.ndarray, means: np.ndarray) -> np.ndarray:
    return np.argmin(np.square(means).sum(-1) / 2 - some @ means.T, -1)


def table(cell: np.ndarray, room: int) -> Table:
    """The centres by cell.

    Args:
      cell: int[count], of each centre.
      room: C, places for centres.
    """
    key = np.sort(cell.astype(np.int64) * room + np.arange(len(cell)))
    order = np.append(key % room, np.arange(len(cell), room))
    return Table(order.astype(np.int32), key)


def spans(table: Table, cell: np.ndarray, tried: np.ndarray, group: int) -> np.ndarray:
    """int[S / group, 2], where those that points have not tried begin and end.

    Args:
      table: of the centres; places are those in its order.
      cell: int[S], of points, ascending in each group.
      tried: int[S], a point knows the centres of its cell below this number.
      group: points in a group.
    """
    room = len(table.order)
    cell = cell.reshape(-1, group).astype(np.int64)
    begin = cell[:, 0] * room + tried.reshape(-1, group).min(-1)
    end = (cell[:, -1] + 1) * room
    return np.searchsorted(table.key, np.stack([begin, end], -1))
