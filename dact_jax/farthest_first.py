"""Farthest-first traversal with bounds that may be stale: the loop of k-center.

`acquisitions.k_center` says why it is exact and ends.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import bounds, candidates, errors, nearest, plain_scan, points
from dact_jax.bounds import Bounds
from dact_jax.candidates import TIE, Known
from dact_jax.nearest import Centers, Frame
from dact_jax.points import Points

Told = Callable[[int, int], None]  # picks made, budget

_BLOCK = 4096  # points brought up to date at once
_CANDIDATES = 256
_SAMPLE = 512  # points that decide the frame
_BLURRED = 1 / 50  # share of the radius squared that an error may have
_SPARE = max(_CANDIDATES, nearest.TILE)  # centres there is room for beyond the last
_ROOM = 1024  # fewest centres that there is room for
_FEW = 8  # centres, for which a tile of its own pays
_STEP = 128  # rows of a block are a multiple of it
_SMALL = 2**17  # numbers in a pool that a plain scan passes sooner than blocks form


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
    if pool.num * pool.width <= _SMALL:
        return _scan(pool, chosen, budget, told)
    told(0, budget)
    search = _begin(pool, chosen, budget)
    picks = [(np.zeros(0, np.int32), np.zeros(0))]
    done, stuck = 0, False
    while done < budget:
        step = _settle(search, budget - done, forced=stuck)
        search, stuck = step.search, step.stuck
        picks.append((step.row, step.squared))
        done += len(step.row)
        told(done, budget)
        if done < budget and not stuck:
            search = _sharpen(search) if step.blurred else _refresh(search, step.least)
    row, squared = map(np.concatenate, zip(*picks, strict=True))
    return row, np.sqrt(squared) / np.float64(search.frame.scale)


def _scan(
    pool: Points, chosen: np.ndarray, budget: int, told: Told
) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(pool.num)
    held = pool.shared(rows)
    _check_finite(rows, _short(np.asarray(held)))
    row, squared = plain_scan.scan(
        held,
        np.resize(chosen, pool.num).astype(np.int32),
        np.int32(len(chosen)),
        np.int32(budget),
        over=pool.mesh,
    )
    told(budget, budget)
    return np.asarray(row)[:budget], np.sqrt(np.asarray(squared)[:budget])


class _Search(NamedTuple):
    """A selection under way."""

    pool: Points
    frame: Frame
    mode: str  # of the products
    centers: Centers
    num: int  # centres
    known: Bounds  # written to
    blur: float = 0.0  # largest error of a distance among candidates


class _Step(NamedTuple):
    """What came of the candidates."""

    search: _Search  # the picks are centres
    row: np.ndarray  # int32[n], the picks
    squared: np.ndarray  # float64[n], their squared distances in the frame
    least: float  # the largest one that is left among them (inf: none is left)
    blurred: bool  # distances are not precise enough to go on
    stuck: bool  # nothing changed, and nothing is stale that could change it


def _begin(pool: Points, chosen: np.ndarray, budget: int) -> _Search:
    at, some = points.sample(pool, _SAMPLE)
    _check_finite(at, _short(some))
    frame = Frame(*(points.put(x, pool.mesh, split=False) for x in nearest.frame(some)))
    # Powers of two: few shapes, so few compilations over a run's rounds.
    room = max(_ROOM, 2 ** math.ceil(math.log2(len(chosen) + budget + _SPARE)))
    rows = np.resize(chosen, room)  # what is beyond them becomes padding
    given = pool.shared(rows)
    centers = _prepare(given, np.int32(len(chosen)), frame, mode="float32")
    known = bounds.unknown(pool.rows, np.append(chosen, np.arange(pool.num, pool.rows)))
    return _sweep(_Search(pool, frame, "float32", centers, len(chosen), known))


@functools.partial(jax.jit, static_argnames="mode")
def _prepare(given: jax.Array, count: jax.Array, frame: Frame, *, mode: str) -> Centers:
    empty = Centers(*(jnp.zeros_like(x) for x in (given, given, given[:, 0])))
    if mode != "float32":
        empty = empty._replace(
            factor=empty.factor.astype(jnp.float64),
            weight=empty.weight.astype(jnp.float64),
        )
    return candidates.append(empty, given, jnp.int32(0), count, frame)


def _sharpen(search: _Search) -> _Search:
    """Goes on with more precise distances; all that was found with others is void."""
    mode = nearest.MODES[nearest.MODES.index(search.mode) + 1]
    given, count = search.centers.point, np.int32(search.num)
    centers = _prepare(given, count, search.frame, mode=mode)
    bounds.forget(search.known)
    return _sweep(search._replace(mode=mode, centers=centers))


def _sweep(search: _Search) -> _Search:
    """Compares all points with all centres."""
    for rows, block in points.blocks(search.pool, _size(search.pool)):
        _compare(search, rows, block)
    return search


def _refresh(search: _Search, least: float) -> _Search:
    """Brings those up to date that may be the farthest; one is at least so far."""
    pool, size = search.pool, _size(search.pool)
    rows = bounds.promising(search.known, size, pool.part, least, search.num)
    for start in range(0, rows.shape[1], size):
        block = rows[:, start : start + size].reshape(-1)
        _compare(search, block, pool.split(block))
    return search


def _size(pool: Points) -> int:
    """Rows of each part in a block: a multiple of what is compared at once."""
    wanted = min(_BLOCK, pool.rows // 4)  # of a small pool not all, or nothing is saved
    each = -(-max(wanted, min(pool.rows, nearest.GROUP)) // pool.mesh.size)
    step = nearest.GROUP if each >= nearest.GROUP else _STEP
    return max(step, each // step * step) * (pool.mesh.size // pool.parts)


def _compare(search: _Search, rows: np.ndarray, block: jax.Array) -> None:
    """Compares rows with the centres that they have not seen."""
    pool, known, count = search.pool, search.known, search.num
    group = min(nearest.GROUP, len(rows) // pool.mesh.size)
    seen = np.where(known.bound[rows] >= 0, known.seen[rows], count)
    first = seen.reshape(-1, group).min(-1).astype(np.int32)
    found = nearest.two_nearest(
        block,
        points.put(first, pool.mesh),
        search.centers,
        np.int32(count),
        search.frame,
        over=pool.mesh,
        mode=search.mode,
        tile=_FEW if count <= _FEW else nearest.TILE,
        group=group,
    )
    found = jax.device_get(found)
    _check_finite(rows, found.finite)
    slack = nearest.slack(pool.width, search.mode)
    bounds.learn(known, rows, found, count, slack=slack, blur=search.blur)


def _settle(search: _Search, budget: int, *, forced: bool) -> _Step:
    """Picks among the candidates.

    Args:
      search: under way.
      budget: most picks.
      forced: nothing else changes any more, since ties are not transitive: r may tie
        with the largest bound, and a lower row with r but not with that. Then one pick
        is made whatever the points outside are; they are no farther, but for ties.
    """
    pool, known, count = search.pool, search.known, search.num
    rows, outside = bounds.shortlist(known, _CANDIDATES, count)
    if forced:
        outside, budget = bounds.Outside(np.float64(-1), np.int32(0)), 1
    num = len(rows)
    padded = np.resize(rows, _CANDIDATES).astype(np.int32)
    bound = np.where(np.arange(_CANDIDATES) < num, known.bound[padded], -1)
    of = Known(bound, known.near[padded], known.rest[padded])
    settled = candidates.settle(
        padded,
        pool.shared(padded),
        of,
        search.centers,
        np.int32(count),
        search.frame,
        *outside,
        np.int32(budget),
        over=pool.mesh,
    )
    centers, settled = settled.centers, jax.device_get(settled._replace(centers=None))
    picks = int(settled.num)
    now = jax.tree.map(lambda x: x[:num], settled.known)
    same = not picks and np.array_equal(known.bound[rows], now.bound)
    bounds.settle(known, rows, now, count + picks)
    left = now.bound[now.bound >= 0]
    least = float(left.max()) if len(left) else math.inf
    length = settled.length + nearest.floor(search.mode)
    error = 2 * nearest.slack(pool.width, search.mode) * length
    order = settled.order[:picks]
    return _Step(
        search._replace(
            centers=centers,
            num=count + picks,
            blur=max(search.blur, float(settled.blur)),
        ),
        padded[order],
        settled.squared[:picks],
        least,
        blurred=error > _BLURRED * least and search.mode != nearest.MODES[-1],
        stuck=same and not bounds.stale(known, least * (1 - 4 * TIE), count),
    )


def _check_finite(rows: np.ndarray, finite: np.ndarray) -> None:
    if not finite.all():
        raise errors.InputError(
            f"features must be finite, and short enough for float32 to hold their "
            f"squared length; row {rows[~finite].min()} is not."
        )


def _short(some: np.ndarray) -> np.ndarray:
    """bool[n], finite and not too long."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.square(some).sum(-1) < nearest.LONGEST
