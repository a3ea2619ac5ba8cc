"""Farthest-first traversal with stale bounds: the loop of k-center.

`geometry.k_center` explains why its picks are exact and why it ends.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dact_jax import devices
from dact_jax.geometry import bounds, candidates, comparisons, distances, traversal
from dact_jax.geometry.candidates import TIE, NearestCenter, Outside
from dact_jax.geometry.points import Points
from dact_jax.geometry.traversal import Traversal
from dact_jax.geometry.tuning import Tuning

ReportProgress = Callable[[int, int], None]  # picks so far, budget


def traverse(
    pool: Points,
    chosen: np.ndarray,
    budget: int,
    report_progress: ReportProgress,
    tuning: Tuning,
) -> tuple[np.ndarray, np.ndarray]:
    """Picks the point farthest from all chosen ones, `budget` times.

    Args:
      pool: N points.
      chosen: int[L], rows that are chosen already, at least one.
      budget: at most N - L.
      report_progress: called with (picks so far, budget) after each block.
      tuning: speed and memory; the picks do not depend on it.

    Returns:
      int32[budget], the rows; float64[budget], the distance of each when it was picked.

    Raises:
      InputError: a point is not finite, or too long.
    """
    report_progress(0, budget)
    state = traversal.start(pool, chosen, budget, tuning)
    comparisons.compare_all(state)
    picks = [(np.zeros(0, np.int32), np.zeros(0))]
    done, stuck = 0, False
    while done < budget:
        step = _pick(state, budget - done, forced=stuck)
        state, stuck = step.state, step.stuck
        picks.append((step.row, step.squared))
        done += len(step.row)
        report_progress(done, budget)
        if done < budget and not stuck:
            if step.imprecise:
                state = traversal.increase_precision(state)
                comparisons.compare_all(state)
            else:
                comparisons.update_bounds(state, step.least)
    row, squared = map(np.concatenate, zip(*picks, strict=True))
    return row, np.sqrt(squared) / np.float64(state.frame.scale)


class _Step(NamedTuple):
    """Picks among one set of candidates."""

    state: Traversal  # with the picks as centers
    row: np.ndarray  # int32[n], the picks
    squared: np.ndarray  # float64[n], their squared distances in the frame
    least: float  # largest squared distance of the remaining candidates; inf: none left
    imprecise: bool  # the mode's errors are too large compared with the distances
    stuck: bool  # nothing changed, and no stale row is left that could change it


def _pick(state: Traversal, budget: int, *, forced: bool) -> _Step:
    """Picks among the candidates.

    Args:
      state: of the selection.
      budget: most picks.
      forced: set where nothing changes any more, since ties are not transitive: row r
        may tie with the largest bound, and a lower row with r but not with that bound.
        Then one pick is made regardless of the points outside, which are no farther
        except for ties.
    """
    pool, pool_bounds, count = state.pool, state.bounds, state.num
    size = state.tuning.candidates
    spare = state.tuning.spare_candidates
    rows, outside = bounds.choose_candidates(pool_bounds, size, count, spare=spare)
    if forced:
        outside, budget = Outside(np.float64(-1), np.int32(0)), 1
    on_host = pool.read_on_host is not None
    # Programs of the devices keep their shapes; NumPy reads no padding.
    padded = np.resize(rows, len(rows) if on_host else size).astype(np.int32)
    padded_points = (pool.read_on_host or pool.read_replicated)(padded)
    before = pool_bounds.bound[rows]
    picks = candidates.pick(
        rows,
        np.asarray(padded_points)[: len(rows)],
        NearestCenter(before, pool_bounds.center[rows], pool_bounds.others[rows]),
        state.point[:count],
        state.frame,
        outside,
        budget,
        table_error=state.tuning.table_error,
    )
    picks = devices.from_process_0(picks)
    after, picked = picks.nearest, picks.order[picks.order >= 0]
    unchanged = not len(picked) and np.array_equal(before, after.bound)
    bounds.record_candidates(pool_bounds, rows, after, count + len(picked))
    remaining = after.bound[after.bound >= 0]
    least = float(remaining.max()) if len(remaining) else math.inf
    edge = least * (1 - 4 * TIE)
    norm = picks.squared_norm + distances.underflow(state.mode)
    error = 2 * distances.relative_error(pool.width, state.mode) * norm
    imprecise = error > state.tuning.mode_error * least
    state = traversal.add_centers(state, padded, padded_points, picked)
    return _Step(
        state._replace(candidate_error=max(state.candidate_error, float(picks.error))),
        padded[picked],
        picks.squared[: len(picked)],
        least,
        imprecise=bool(imprecise) and state.mode != distances.MODES[-1],
        stuck=unchanged
        and not bounds.any_stale(pool_bounds, pool_bounds.compared, edge, count),
    )
