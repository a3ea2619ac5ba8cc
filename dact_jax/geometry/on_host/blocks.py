"""Blocks of a pool's rows, compared by the threads of the host.

What `comparisons` has the devices do otherwise; the results are within the same bounds.
"""

from collections.abc import Iterator

import numpy as np

from dact_jax.geometry import cells
from dact_jax.geometry.nearest import Survey, TwoNearest
from dact_jax.geometry.on_host import nearest, workers
from dact_jax.geometry.traversal import Traversal

_ROWS = 4096  # that a thread compares at once, at most


def survey(state: Traversal, count: int) -> Iterator[tuple[np.ndarray, Survey]]:
    """Yields (int[S] rows, their survey) until all rows came.

    Args:
      state: of the selection.
      count: centers that the survey compares with.
    """
    pool, read = state.pool, state.pool.read_on_host
    assert read is not None

    def measure(first: int) -> tuple[np.ndarray, Survey]:
        rows = slice(first, min(first + _ROWS, pool.num))
        found = nearest.survey(
            read,
            rows,
            np.asarray(state.pivots),
            state.centers,
            count,
            state.frame,
            mode=state.mode,
        )
        return np.arange(rows.start, rows.stop), found

    yield from workers.each(measure, range(0, pool.num, _ROWS))


def compare(
    state: Traversal,
    rows: np.ndarray,
    compared: np.ndarray,
    table: cells.Table | None,
) -> Iterator[tuple[np.ndarray, TwoNearest]]:
    """Yields (int[S] rows, their nearest centers) until all rows came.

    Args:
      state: of the selection.
      rows: int[n], the rows, in the order in which they are compared.
      compared: int[n], a row was compared with the centers below this number; with all
        of them: it needs no comparison.
      table: of the centers; rows are ascending by cell, and compared with the centers
        of their cell only. None: with all.
    """
    read, most = state.pool.read_on_host, nearest.at_once(state.pool.width)
    assert read is not None

    def groups(part: slice) -> list[tuple[slice, slice]]:
        if table is not None:
            cell = state.bounds.cell[rows[part]]
            return cells.groups(table, cell, compared[part], most)
        starts = list(range(0, len(rows[part]), most))
        first = np.minimum.reduceat(compared[part], starts).tolist()
        ends = [*starts[1:], len(rows[part])]
        spans = (slice(number, state.num) for number in first)
        return list(zip(map(slice, starts, ends), spans, strict=True))

    def compare_part(part: slice) -> tuple[np.ndarray, TwoNearest]:
        found = nearest.two_nearest(
            read,
            rows[part],
            groups(part),
            None if table is None else table.order,
            state.centers,
            state.frame,
            mode=state.mode,
        )
        return rows[part], found

    size = min(_ROWS, -(-len(rows) // workers.COUNT))
    yield from workers.each(compare_part, nearest.parts(len(rows), size))
