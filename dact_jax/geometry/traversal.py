"""State of a greedy selection: its pool, centers and bounds."""

import math
from typing import NamedTuple

import numpy as np

from dact_jax import devices, vectors
from dact_jax.geometry import bounds, cells, distances, points
from dact_jax.geometry.bounds import Bounds
from dact_jax.geometry.distances import Centers, Frame
from dact_jax.geometry.nearest import Tiles
from dact_jax.geometry.on_host import products
from dact_jax.geometry.points import Points
from dact_jax.geometry.tuning import Tuning
from dact_jax.types import Array


class Traversal(NamedTuple):
    """A selection in progress."""

    pool: Points
    tuning: Tuning
    frame: Frame
    pivots: Array  # float32[cells, F], in the frame
    mode: str  # one of distances.MODES
    centers: Centers
    point: np.ndarray  # float[C, F], the centers on the host; written to
    row: np.ndarray  # int[C], row of each center in the pool; written to
    num: int  # centers
    bounds: Bounds  # of the pool; written to
    candidate_error: float = 0.0  # largest error of distances among candidates so far


def start(pool: Points, chosen: np.ndarray, budget: int, tuning: Tuning) -> Traversal:
    """A selection in which no point was compared with any center yet.

    Args:
      pool: the points.
      chosen: int[L], rows that are chosen already, at least one.
      budget: number of picks to come.
      tuning: sizes.

    Raises:
      InputError: a point is not finite, or too long.
    """
    rows, sample = points.sample(pool, tuning.sample)
    vectors.check_valid(rows, vectors.valid(sample))
    host_frame, total = distances.make_frame(sample), len(chosen) + budget
    pivots = _put(_pivots(pool, sample, host_frame, total, tuning), pool)
    frame = Frame(*(_put(x, pool) for x in host_frame))
    # Appending candidates and reading a whole tile may reach beyond the last center.
    widest = max(t.centers for t in tuning if isinstance(t, Tiles))
    needed = total + max(tuning.candidates, widest)
    # Powers of two: few shapes, so few compilations over the rounds of a run.
    room = max(tuning.center_room, 2 ** math.ceil(math.log2(needed)))
    row = np.resize(chosen, room)  # what follows the chosen rows becomes padding
    point = np.array(points.read(pool, row))
    unavailable = np.append(chosen, np.arange(pool.num, pool.rows))
    return Traversal(
        pool,
        tuning,
        frame,
        pivots,
        "float32",
        _centers(pool, point, len(chosen), frame, "float32", tuning.candidates),
        point,
        row,
        len(chosen),
        bounds.make(pool.rows, unavailable),
    )


def _pivots(
    pool: Points, sample: np.ndarray, frame: Frame, total: int, tuning: Tuning
) -> np.ndarray:
    """float32[cells, F]; one pivot where cells would not save work."""
    num = 1
    # On an accelerator, products with few centers cost nearly nothing.
    if pool.on_cpu and pool.num * total >= tuning.cell_pairs:
        num = cells.count_cells(total, tuning.max_cells, tuning.cell_centers)
    placed = (sample - frame.origin) * frame.scale
    # Keep the shape fixed until process 0's pivots are broadcast: rounding could make
    # processes disagree on whether cells help.
    pivots = devices.from_process_0(cells.pivots(placed, num, tuning.cell_variance))
    return pivots[:1] if (pivots == pivots[0]).all() else pivots


def _centers(
    pool: Points, point: np.ndarray, count: int, frame: Frame, mode: str, chunk: int
) -> Centers:
    """The first `count` centers for products in a mode, appended in chunks."""
    dtype = np.float32 if mode == "float32" else np.float64
    padding = np.full(len(point), np.inf, dtype)
    centers = Centers(_put(np.zeros(point.shape, dtype), pool), _put(padding, pool))
    order = np.arange(chunk, dtype=np.int32)
    for first in range(0, count, chunk):
        if pool.read_on_host is not None:
            block = point[first : min(count, first + chunk)]
            products.append_centers(centers, block, first, frame, mode=mode)
            continue
        appended = _put(point[first : first + chunk], pool)
        num = np.int32(count - first)
        centers = distances.append_centers(
            centers, appended, order, np.int32(first), num, frame, mode=mode
        )
    return centers


def _put(values: Array, pool: Points) -> Array:
    """The values where a pool's comparisons are computed."""
    on_host = pool.read_on_host is not None
    return values if on_host else devices.put(values, pool.mesh, split=False)


def add_centers(
    state: Traversal, rows: np.ndarray, candidates: Array, picked: np.ndarray
) -> Traversal:
    """Adds picks to the centers.

    Args:
      state: its `row` and `point` are written to.
      rows: int[n], rows of the candidates, padded.
      candidates: float[n, F], these points.
      picked: int[p], which of them are picked, in pick order.
    """
    count, num = state.num, len(picked)
    state.row[count : count + num] = rows[picked]
    state.point[count : count + num] = np.asarray(candidates)[picked]
    if state.pool.read_on_host is not None:
        appended = state.point[count : count + num]
        products.append_centers(
            state.centers, appended, count, state.frame, mode=state.mode
        )
        return state._replace(num=count + num)
    centers = distances.append_centers(
        state.centers,
        candidates,
        np.resize(picked, len(rows)).astype(np.int32),
        np.int32(count),
        np.int32(num),
        state.frame,
        mode=state.mode,
    )
    return state._replace(centers=centers, num=count + num)


def increase_precision(state: Traversal) -> Traversal:
    """Switches to the next more precise mode and discards all bounds.

    Differences of float64 points are those of the points themselves: subtracting an
    origin first would round them.

    Args:
      state: in a mode that is not the last of MODES.
    """
    mode = distances.MODES[distances.MODES.index(state.mode) + 1]
    if mode == "differences" and state.point.dtype == np.float64:
        state = _without_origin(state)
    chunk = state.tuning.candidates
    centers = _centers(state.pool, state.point, state.num, state.frame, mode, chunk)
    bounds.reset(state.bounds)
    return state._replace(mode=mode, centers=centers)


def _without_origin(state: Traversal) -> Traversal:
    origin, scale = (np.asarray(x) for x in state.frame)
    frame = Frame(_put(np.zeros_like(origin), state.pool), state.frame.scale)
    moved = np.asarray(state.pivots) + (origin * scale).astype(np.float32)
    return state._replace(frame=frame, pivots=_put(moved, state.pool))
