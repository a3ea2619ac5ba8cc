"""Farthest-first traversal with bounds that may be stale: the loop of k-center.

`acquisitions.k_center` says why it is exact and ends.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dact_jax import devices
from dact_jax.geometry import (
    bounds,
    candidates,
    distances,
    plain_scan,
    points,
    traversal,
)
from dact_jax.geometry.candidates import TIE, Known, Outside
from dact_jax.geometry.points import Points
from dact_jax.geometry.traversal import Search

Told = Callable[[int, int], None]  # picks made, budget

_BLURRED = 1 / 50  # share of the radius squared that an error may have
_SMALL = 2**20  # numbers in a pool that a plain scan may take
_BRIEF = 2**26  # numbers it reads in all, for which it is faster than blocks


def traverse(
    pool: Points, chosen: np.ndarray, budget: int, told: Told
) -> tuple[np.ndarray, np.ndarray]:
    """The farthest point from all that are chosen, `budget` times.

    Args:
      pool: the points.
      chosen: int[L], rows that are chosen already, at least one.
      budget: at most N - L.
      told: called with (picks so far, budget) after each block.

    Returns:
      int32[budget], the rows; float64[budget], the distance of each at its time.

    Raises:
      InputError: a point is not finite, or too long.
    """
    size = pool.num * pool.width
    if size <= _SMALL and size * (len(chosen) + budget) <= _BRIEF:
        return _scan(pool, chosen, budget, told)
    told(0, budget)
    state = traversal.begin(pool, chosen, budget)
    picks = [(np.zeros(0, np.int32), np.zeros(0))]
    done, stuck = 0, False
    while done < budget:
        step = _settle(state, budget - done, forced=stuck)
        state, stuck = step.state, step.stuck
        picks.append((step.row, step.squared))
        done += len(step.row)
        told(done, budget)
        if done < budget and not stuck:
            state = _bring_up(state, step)
    row, squared = map(np.concatenate, zip(*picks, strict=True))
    return row, np.sqrt(squared) / np.float64(state.frame.scale)


def _scan(
    pool: Points, chosen: np.ndarray, budget: int, told: Told
) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(pool.num)
    held = pool.shared(rows)
    points.check_finite(rows, points.short(np.asarray(held)))
    row, squared = plain_scan.scan(
        held,
        np.resize(chosen, pool.num).astype(np.int32),
        np.int32(len(chosen)),
        np.int32(budget),
        over=pool.mesh,
    )
    told(budget, budget)
    row, squared = devices.from_process_0((np.asarray(row), np.asarray(squared)))
    return row[:budget], np.sqrt(squared[:budget])


class _Step(NamedTuple):
    """What came of the candidates."""

    state: Search  # the picks are centres
    row: np.ndarray  # int32[n], the picks
    squared: np.ndarray  # float64[n], their squared distances in the frame
    least: float  # the largest one that is left among them (inf: none is left)
    blurred: bool  # distances are not precise enough to go on
    stuck: bool  # nothing changed, and nothing is stale that could change it


def _bring_up(state: Search, step: _Step) -> Search:
    if step.blurred:
        return traversal.sharpen(state)
    return traversal.refresh(state, step.least)


def _settle(state: Search, budget: int, *, forced: bool) -> _Step:
    """Picks among the candidates.

    Args:
      state: of the selection.
      budget: most picks.
      forced: nothing else changes any more, since ties are not transitive: r may tie
        with the largest bound, and a lower row with r but not with that. Then one pick
        is made whatever the points outside are; they are no farther, but for ties.
    """
    pool, known, count = state.pool, state.known, state.num
    rows, outside = bounds.shortlist(known, traversal.CANDIDATES, count)
    if forced:
        outside, budget = Outside(np.float64(-1), np.int32(0)), 1
    num, padded = len(rows), np.resize(rows, traversal.CANDIDATES).astype(np.int32)
    held = pool.shared(padded)
    settled = candidates.settle(
        rows,
        np.asarray(held)[:num],
        Known(known.bound[rows], known.near[rows], known.rest[rows]),
        state.point[:count],
        state.frame,
        outside,
        budget,
    )
    settled = devices.from_process_0(settled)
    now, picked = settled.known, settled.order[settled.order >= 0]
    same = not len(picked) and np.array_equal(known.bound[rows], now.bound)
    bounds.settle(known, rows, now, count + len(picked))
    left = now.bound[now.bound >= 0]
    least = float(left.max()) if len(left) else math.inf
    edge = least * (1 - 4 * TIE)
    length = settled.length + distances.floor(state.mode)
    error = 2 * distances.slack(pool.width, state.mode) * length
    state = traversal.append(state, padded, held, picked)
    return _Step(
        state._replace(blur=max(state.blur, float(settled.blur))),
        padded[picked],
        settled.squared[: len(picked)],
        least,
        blurred=error > _BLURRED * least and state.mode != distances.MODES[-1],
        stuck=same and not bounds.stale(known, known.seen, edge, count),
    )
