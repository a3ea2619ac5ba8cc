"""Blocks of a pool's rows, compared by the threads of the host.

What `comparisons` has the devices do otherwise; the results are within the same bounds.
"""

from collections.abc import Iterator

import numpy as np

from dact_jax.geometry import cells
from dact_jax.geometry.nearest import Survey, TwoNearest
from dact_jax.geometry.on_host import nearest
from dact_jax.geometry.traversal import Traversal

_ROWS = 2**16  # surveyed before they are recorded, at most


def survey(state: Traversal, count: int) -> Iterator[tuple[np.ndarray, Survey]]:
    """Yields (int[S] rows, their survey) until all rows came.

    Args:
      state: of the selection.
      count: centers that the survey compares with.
    """
    pool, read = state.pool, state.pool.read_on_host
    assert read is not None
    pivots = np.asarray(state.pivots)
    for first in range(0, pool.num, _ROWS):
        rows = slice(first, min(first + _ROWS, pool.num))
        found = nearest.survey(
            read, rows, pivots, state.centers, count, state.frame, mode=state.mode
        )
        yield np.arange(rows.start, rows.stop), found


def compare(
    state: Traversal,
    rows: np.ndarray,
    compared: np.ndarray,
    table: cells.Table | None,
) -> tuple[np.ndarray, TwoNearest]:
    """Compares rows with centers; returns them in another order, with the results.

    Args:
      state: of the selection.
      rows: int[n], distinct rows, at least one.
      compared: int[n], a row was compared with the centers below this number.
      table: of the centers; rows are compared with the centers of their cell only.
        None: with all.
    """
    read, most = state.pool.read_on_host, nearest.at_once(state.pool.width)
    assert read is not None
    cell = np.zeros(1, np.int32) if table is None else state.bounds.cell[rows]
    by_cell = _order(compared, cell)
    rows, compared = rows[by_cell], compared[by_cell]
    if table is not None:
        groups = cells.groups(table, cell[by_cell], compared, most)
    else:
        starts = list(range(0, len(rows), most))
        first = np.minimum.reduceat(compared, starts).tolist()
        spans = (slice(number, state.num) for number in first)
        parts = map(slice, starts, [*starts[1:], len(rows)])
        groups = list(zip(parts, spans, strict=True))
    order = None if table is None else table.order
    found = nearest.two_nearest(
        read, rows, groups, order, state.centers, state.frame, mode=state.mode
    )
    return rows, found


def _order(compared: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """int[n], the order of rows by cell and by what they were compared with."""
    num = len(compared)
    key = cell * np.int64(compared.max() + 1) + compared
    # Sorting distinct numbers is several times as fast as a stable argsort.
    return np.sort(key * num + np.arange(num)) % num
