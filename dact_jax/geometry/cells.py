"""Cells: a coarse partition of a pool by the nearest of a few pivots.

Among the centers in its own cell a point usually finds one that is about as near as the
nearest of all, for a small share of the products. Cells only decide which centers are
compared first: bounds hold for any partition.
"""

from typing import NamedTuple

import numpy as np

_STEPS = 5  # iterations of Lloyd's algorithm


class Table(NamedTuple):
    """The centers, sorted by cell."""

    order: np.ndarray  # int32[C], numbers of centers by (cell, number), then padding
    key: np.ndarray  # int64[count], cell * C + number, ascending


def count_cells(num_centers: int, max_cells: int, min_centers: int) -> int:
    """How many cells save work for a number of centers, at least one.

    Args:
      num_centers: labelled rows and picks together.
      max_cells: largest number of cells.
      min_centers: fewest centers of a cell, on average.
    """
    return min(max_cells, max(1, num_centers // min_centers))


def pivots(sample: np.ndarray, num: int, min_explained: float) -> np.ndarray:
    """float32[num, F], k-means centroids of a sample, in its order.

    All are the mean of the sample where the centroids explain less than a share
    `min_explained` of its variance: such cells would save nothing.

    Args:
      sample: float[n, F].
      min_explained: 0 .. 1.
    """
    mean = sample.mean(0, dtype=sample.dtype).astype(np.float32)
    identical = np.broadcast_to(mean, (num, len(mean)))
    if num == 1:
        return identical
    centroids = sample[np.linspace(0, len(sample) - 1, num).astype(int)]
    for _ in range(_STEPS):
        member = np.arange(num)[:, None] == _nearest(sample, centroids)
        size = member.sum(-1, dtype=np.float32)[:, None]
        sums = member.astype(np.float32) @ sample
        centroids = np.where(size > 0, sums, centroids)
        centroids /= np.maximum(size, 1)
    remaining = np.square(sample - centroids[_nearest(sample, centroids)]).sum()
    total = np.square(sample - mean).sum()
    centroids = centroids.astype(np.float32)
    return centroids if remaining < (1 - min_explained) * total else identical


def _nearest(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return np.argmin(np.square(centroids).sum(-1) / 2 - points @ centroids.T, -1)


def table(cell: np.ndarray, room: int) -> Table:
    """The centers, sorted by cell.

    Args:
      cell: int[count], of each center.
      room: C, centers that arrays have room for.
    """
    key = np.sort(cell.astype(np.int64) * room + np.arange(len(cell)))
    order = np.append(key % room, np.arange(len(cell), room))
    return Table(order.astype(np.int32), key)


def groups(
    table: Table, cell: np.ndarray, compared: np.ndarray, most: int
) -> list[tuple[slice, slice]]:
    """Points of one cell each, and the centers in `table.order` to compare them with.

    These are all centers in the cell that some point of the group was not compared
    with.

    Args:
      table: of the centers.
      cell: int[S], of the points, ascending.
      compared: int[S], as in `spans`.
      most: points in a group.
    """
    starts = np.append(np.flatnonzero(np.diff(cell)) + 1, np.arange(0, len(cell), most))
    starts = np.unique(starts)
    own_cell, room = cell[starts].astype(np.int64), len(table.order)
    first = own_cell * room + np.minimum.reduceat(compared, starts)
    span = np.searchsorted(table.key, np.stack([first, (own_cell + 1) * room], -1))
    rows = map(slice, starts.tolist(), [*starts[1:].tolist(), len(cell)])
    return list(zip(rows, map(slice, *span.T.tolist()), strict=True))


def spans(
    table: Table, cell: np.ndarray, compared: np.ndarray, group: int
) -> np.ndarray:
    """int[S / group, 2], (first, last) in `table.order` of the centers to compare.

    A group's span covers all centers in the cells of its points that some point of the
    group was not compared with.

    Args:
      table: of the centers.
      cell: int[S], of the points, ascending in each group.
      compared: int[S], a point was compared with the centers of its cell whose number
        is below this.
      group: points in a group.
    """
    room = len(table.order)
    cell = cell.reshape(-1, group).astype(np.int64)
    first = cell[:, 0] * room + compared.reshape(-1, group).min(-1)
    last = (cell[:, -1] + 1) * room
    return np.searchsorted(table.key, np.stack([first, last], -1))
