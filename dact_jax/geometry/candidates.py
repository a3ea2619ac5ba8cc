"""Greedy picks among a few points at hand: the farthest from all centres, again and
again, in float64 and by differences. On the host: a pick is a few hundred numbers.
"""

from typing import NamedTuple

import numpy as np

from dact_jax.geometry import distances
from dact_jax.geometry.distances import Frame

# Squared distances that agree to this share are equal (float64 rounds their sums of
# thousands of terms to 1e-13 or so), and the lowest row wins.
TIE = 2.0**-40
_SMOOTH = 2.0**-24  # share of the radius squared that the error of a product may have
_CHECKED = 128  # centres measured at once when a candidate is looked at again


class Known(NamedTuple):
    """What is known of points and the centres that they were compared with."""

    bound: np.ndarray  # float64[n], squared distance to the nearest is at most this;
    # -1: never to be picked
    near: np.ndarray  # int32[n], number of a centre that is no farther; -1: none yet
    rest: np.ndarray  # float64[n], all other centres are at least as far


class Outside(NamedTuple):
    """The points of a pool that are no candidates."""

    most: np.float64  # largest bound of a point that may be picked; -1: there is none
    row: np.int32  # the lowest row of those that tie for it


class Settled(NamedTuple):
    """What came of the candidates of a block."""

    known: Known
    order: np.ndarray  # int32[n], the picked candidates, then -1
    squared: np.ndarray  # float64[n], squared distance of each at its time
    length: np.float64  # largest squared length of those that are left
    blur: np.float64  # error of their distances to the picks


class _Work(NamedTuple):
    """What is kept of n candidates; what follows from `own` on is written to."""

    raw: np.ndarray  # float64[n, F]
    unit: float  # of squared distances
    table: np.ndarray | None  # float64[n, n], by products; None: they are not precise
    blur: float  # error of the table; 0 without
    own: np.ndarray  # float64[n], squared distance to `near`, by differences
    near: np.ndarray  # int32[n], a centre
    rest: np.ndarray  # float64[n], all other centres are at least as far
    since: np.ndarray  # int[n], so many picks are among these centres
    value: np.ndarray  # float64[n], squared distance as far as known; -1: picked
    picked: list[int]  # candidates in pick order
    squared: list[float]  # squared distance of each at its time
    reach: list[np.ndarray]  # float64[n] of each, its squared distances to all


def settle(
    rows: np.ndarray,
    points: np.ndarray,
    known: Known,
    centers: np.ndarray,
    frame: Frame,
    outside: Outside,
    budget: int,
) -> Settled:
    """Picks candidates for as long as no other point of the pool can be farther.

    A candidate's distance is that to `near`, by differences. A pick brings the others
    up to date by one row of the table of their products in float64, where its error is
    small beside the distances outside, and else by differences. Before a pick all that
    may be the farthest within that error, or have a nearer centre (`rest`), are
    measured against every centre by differences.

    Args:
      rows: int[n], row of each candidate in the pool, ascending.
      points: float32[n, F].
      known: of the candidates, all compared with every centre, none picked.
      centers: float32[C, F].
      frame: of the distances.
      outside: all other points.
      budget: most picks.
    """
    raw, scale = points.astype(np.float64), float(frame.scale)
    placed = (raw - np.asarray(frame.origin)) * scale
    length = _squared(placed)
    error = 2 * distances.slack(points.shape[-1], "float64") * length.max(initial=0)
    smooth = error <= _SMOOTH * outside.most
    own = scale**2 * _squared(raw - centers[known.near])
    work = _Work(
        raw,
        scale**2,
        table=_table(placed, length) if smooth else None,
        blur=error if smooth else 0.0,
        own=own,
        near=known.near.copy(),
        rest=known.rest.copy(),
        since=np.zeros(len(rows), int),
        value=own.copy(),
        picked=[],
        squared=[],
        reach=[],
    )
    _pick(work, rows, centers, outside, min(budget, len(rows)))
    order, squared = np.full(len(rows), -1, np.int32), np.zeros(len(rows))
    order[: len(work.picked)], squared[: len(work.picked)] = work.picked, work.squared
    left = np.float64(length[work.value >= 0].max(initial=0))
    known = _outcome(work, len(centers))
    return Settled(known, order, squared, left, np.float64(work.blur))


def _pick(
    work: _Work, rows: np.ndarray, centers: np.ndarray, outside: Outside, budget: int
) -> None:
    value, most = work.value, float(outside.most)
    while len(work.picked) < budget:
        top = int(np.argmax(value))
        edge = max(0.0, max(float(value[top]), most) * (1 - TIE) - 4 * work.blur)
        first = (value >= edge).nonzero()[0].tolist()
        crowd = len(first) > 1 or most >= edge
        doubtful = (at for at in first if _doubtful(work, at, crowd))
        if (at := next(doubtful, None)) is not None:
            _measure(work, at, centers)
            continue
        if crowd:
            top = int(np.argmax(value >= tied(value[top])))
        far = float(value[top])
        early = far >= most * (1 - TIE) and rows[top] < outside.row
        if not (early or far > most * (1 + TIE)):
            break
        reach = _away(work, top) if work.table is None else work.table[top]
        np.minimum(value, reach, out=value)
        value[top] = -1
        work.picked.append(top)
        work.squared.append(far)
        work.reach.append(reach)


def _doubtful(work: _Work, at: int, crowd: bool) -> bool:
    """Whether a centre may be nearer than known, or the table's error may decide."""
    if 0 < work.value[at] > work.rest[at]:
        return True
    if not crowd or work.table is None:
        return False
    later = work.table[at, work.picked[work.since[at] :]].min(initial=np.inf)
    return bool(later < work.own[at] + 4 * work.blur)


def _measure(work: _Work, at: int, centers: np.ndarray) -> None:
    """Finds the nearest of all centres, by differences."""
    point, picks = work.raw[at], len(work.picked)
    number = _near(point, centers)
    parts = np.split(number, range(_CHECKED, len(number), _CHECKED))
    others = (*(centers[part] for part in parts), work.raw[work.picked])
    far = work.unit * np.concatenate([_squared(some - point) for some in others])
    number = np.append(number, len(centers) + np.arange(picks))
    work.near[at], work.since[at] = number[np.argmin(far)], picks
    work.own[at] = work.rest[at] = work.value[at] = np.min(far)


def _near(point: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """int[m], those that products in float32 do not rule out as the nearest."""
    point = point.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.einsum("cf,cf->c", centers, centers)
        error = distances.error(length + point @ point, "float32")
        error = distances.slack(len(point), "float32") * error
        far = length - 2 * (centers @ point)
        return np.flatnonzero(~(far - error > (far + error).min()))


def _outcome(work: _Work, count: int) -> Known:
    """What is known of the candidates in the end."""
    if not work.picked:
        return Known(work.own, work.near, work.rest)
    later = np.arange(len(work.picked))[:, None] >= work.since
    later = np.where(later, work.reach, np.inf)
    least, at = later.min(0), later.argmin(0)
    later[at, np.arange(len(at))] = np.inf
    second = np.minimum(later.min(0), np.maximum(least, work.own))
    # What is small beside the points outside may be large beside these.
    exact = least >= work.own + 4 * work.blur
    bound = np.minimum(work.own, least) + np.where(exact, 0, work.blur)
    near = np.where(least < work.own, count + at, work.near).astype(np.int32)
    rest = np.minimum(work.rest, second) - work.blur
    return Known(np.where(work.value < 0, -1, bound), near, rest)


def tied(most: float) -> float:
    """What ties with the largest.

    Args:
      most: the largest value.
    """
    return most * (1 - TIE) if most > 0 else most


def _away(work: _Work, at: int) -> np.ndarray:
    return work.unit * _squared(work.raw - work.raw[at])


def _squared(values: np.ndarray) -> np.ndarray:
    return np.einsum("nf,nf->n", values, values)


def _table(placed: np.ndarray, length: np.ndarray) -> np.ndarray:
    """float64[n, n], squared distances."""
    table = placed @ placed.T
    table *= -2
    table += length[:, None]
    table += length
    return np.maximum(table, 0, out=table)
