"""Comparisons of a pool's points with centers, which update the points' bounds."""

import math
from collections.abc import Iterator

import jax
import numpy as np

from dact_jax import devices, vectors
from dact_jax.geometry import bounds, cells, nearest, points
from dact_jax.geometry.nearest import Survey, Tiles, TwoNearest
from dact_jax.geometry.on_host import blocks as host_blocks
from dact_jax.geometry.points import Points
from dact_jax.geometry.traversal import Traversal


def compare_all(state: Traversal) -> None:
    """Measures all points and compares them with the first centers.

    Then the farthest of them with the other centers, if there are more.

    Args:
      state: no point is compared with any center; its bounds are written to.

    Raises:
      InputError: a point is not finite, or too long.
    """
    pool, tuning = state.pool, state.tuning
    tiles = tuning.small_tiles if pool.on_cpu else tuning.accelerator_tiles
    count = min(state.num, tiles.centers)
    on_host = pool.read_on_host is not None
    surveys = host_blocks.survey(state, count) if on_host else _surveys(state, tiles)
    for rows, survey in surveys:
        vectors.check_valid(rows, np.asarray(survey.valid))
        bounds.record_survey(state.bounds, rows, survey)
        _record(state, rows, survey.nearest, count, all_cells=True)
    if count < state.num:
        update_bounds(state, math.inf)


def _surveys(state: Traversal, tiles: Tiles) -> Iterator[tuple[np.ndarray, Survey]]:
    pool = state.pool
    size = _rows_per_part(pool, _block_rows(state), tiles)
    for rows, block in points.blocks(pool, size):
        survey = nearest.survey(
            block,
            state.pivots,
            state.centers,
            state.frame,
            mesh=pool.mesh,
            mode=state.mode,
            tiles=tiles,
        )
        yield rows, jax.device_get(survey)


def update_bounds(state: Traversal, least: float) -> None:
    """Updates the bounds of the points that may be the farthest.

    Comparing them with the centers of their cell first rules most of them out.

    Args:
      state: its bounds are written to.
      least: a squared distance that some point is known to have.
    """
    pool, tuning, pool_bounds, count = state.pool, state.tuning, state.bounds, state.num
    if pool.read_on_host is not None:
        _update_on_host(state, least)
        return
    block = _block_rows(state)
    tiles = tuning.large_tiles if pool.on_cpu else tuning.accelerator_tiles
    if len(state.pivots) > 1:
        _compare_in_cells(state, least, block)
        if count < tuning.few_centers:
            tiles = tuning.small_tiles
        else:
            block = min(block, tuning.all_centers_block * _growth(state) ** 2)
    size = _rows_per_part(pool, block, tiles)
    compared = pool_bounds.compared
    rows = bounds.rows_to_update(pool_bounds, compared < count, size, pool.part, least)
    numbers = np.arange(len(state.row), dtype=np.int32)
    order = devices.put(numbers, pool.mesh, split=False)
    for block_rows in _sorted_blocks(rows, size, compared.astype(np.int64)):
        first = _first_center(pool_bounds.bound, compared, block_rows, count)
        first = first.reshape(-1, tiles.points).min(-1)
        span = np.stack([first, np.full_like(first, count)], -1)
        _compare(state, block_rows, span, order, tiles, all_cells=True)


def _compare_in_cells(state: Traversal, least: float, block: int) -> None:
    """Compares the points that may be the farthest with the centers of their cell."""
    pool, pool_bounds, count = state.pool, state.bounds, state.num
    compared, cell = pool_bounds.cell_compared, pool_bounds.cell
    if not bounds.any_stale(pool_bounds, compared, least, count):
        return
    tiles = state.tuning.small_tiles
    size = _rows_per_part(pool, block, tiles)
    rows = bounds.rows_to_update(pool_bounds, compared < count, size, pool.part, least)
    table = cells.table(cell[state.row[:count]], len(state.row))
    order = devices.put(table.order, pool.mesh, split=False)
    key = cell * np.int64(len(state.row)) + compared
    for block_rows in _sorted_blocks(rows, size, key):
        first = _first_center(pool_bounds.bound, compared, block_rows, count)
        span = cells.spans(table, cell[block_rows], first, tiles.points)
        _compare(state, block_rows, span, order, tiles, all_cells=False)


def _first_center(
    bound: np.ndarray, compared: np.ndarray, rows: np.ndarray, count: int
) -> np.ndarray:
    """int32[S], first center to compare each row with; `count` if it is chosen."""
    return np.where(bound[rows] >= 0, compared[rows], count)


def _sorted_blocks(
    rows: np.ndarray, size: int, key: np.ndarray
) -> Iterator[np.ndarray]:
    """Yields int[parts * size], the rows of each part in the order of int64 keys."""
    num = rows.shape[1]
    # Sorting distinct numbers is several times as fast as a stable argsort.
    rows = np.array([r[np.sort(key[r] * num + np.arange(num)) % num] for r in rows])
    for first in range(0, num, size):
        yield rows[:, first : first + size].reshape(-1)


def _block_rows(state: Traversal) -> int:
    """Points to compare at once: at most a quarter, or bounds would save nothing."""
    return min(state.tuning.block * _growth(state), state.pool.rows // 4)


def _growth(state: Traversal) -> int:
    """Factor by which blocks of a large pool are larger: a power of two."""
    share = max(1, state.pool.num / state.tuning.large_pool)
    return min(state.tuning.max_growth, 2 ** math.ceil(math.log2(share)))


def _rows_per_part(pool: Points, wanted: int, tiles: Tiles) -> int:
    """Rows of each part in a block: a multiple of the rows in a tile."""
    per_device = max(1, wanted // (tiles.points * pool.mesh.size)) * tiles.points
    return per_device * (pool.mesh.size // pool.parts)


def _compare(
    state: Traversal,
    rows: np.ndarray,
    span: np.ndarray,
    order: jax.Array,
    tiles: Tiles,
    *,
    all_cells: bool,
) -> None:
    """Compares rows with the centers in spans of `order`."""
    pool, mesh = state.pool, state.pool.mesh
    result = nearest.two_nearest(
        pool.read_split(rows),
        devices.put(span.astype(np.int32), mesh),
        order,
        state.centers,
        state.frame,
        mesh=mesh,
        mode=state.mode,
        tiles=tiles,
    )
    _record(state, rows, jax.device_get(result), state.num, all_cells=all_cells)


def _update_on_host(state: Traversal, least: float) -> None:
    """As `update_bounds`.

    With all centers it compares just the rows that comparing in cells leaves farther
    than those that it did not reach.
    """
    tuning, pool_bounds, count = state.tuning, state.bounds, state.num
    size = _block_rows(state)
    if len(state.pivots) > 1 and count >= tuning.few_on_host:
        table = cells.table(pool_bounds.cell[state.row[:count]], len(state.row))
        _compare_on_host(state, size, least, table)
        num_far = bounds.count_far(pool_bounds, count)
        size = min(size, max(tuning.spare_candidates, num_far))
    _compare_on_host(state, size, least, None)


def _compare_on_host(
    state: Traversal, size: int, least: float, table: cells.Table | None
) -> None:
    """Compares the farthest rows with all centers, or those of their cell in a table.

    At least `size` of them, if as many were not compared yet.
    """
    pool_bounds, count = state.bounds, state.num
    compared = pool_bounds.compared if table is None else pool_bounds.cell_compared
    size = max(1, min(size, state.pool.rows))
    (rows,) = bounds.rows_to_update(
        pool_bounds, compared < count, size, state.pool.rows, least
    )
    rows = rows[: state.pool.rows]  # without repetitions
    rows = rows[(compared[rows] < count) & (pool_bounds.bound[rows] >= 0)]
    if len(rows):
        rows, found = host_blocks.compare(state, rows, compared[rows], table)
        _record(state, rows, found, count, all_cells=table is None)


def _record(
    state: Traversal,
    rows: np.ndarray,
    result: TwoNearest,
    count: int,
    *,
    all_cells: bool,
) -> None:
    bounds.record_comparison(
        state.bounds,
        rows,
        result,
        count,
        all_cells=all_cells,
        width=state.pool.width,
        mode=state.mode,
        error=state.candidate_error,
    )
