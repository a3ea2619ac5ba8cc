"""Greedy picks among a few points at hand: the farthest from all centres, again and
again, in float64 and by differences. On the host: a pick is a few hundred numbers.
"""

from typing import NamedTuple

import numpy as np

from dact_jax import products
from dact_jax.products import Frame

# Squared distances that agree to this share are equal (float64 rounds their sums of
# thousands of terms to 1e-13 or so), and the lowest row wins.
TIE = 2.0**-40
_SMOOTH = 2.0**-24  # share of the radius squared that the error of a product may have


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
    """What is kept of n candidates; the arrays from `own` on are written to."""

    raw: np.ndarray  # float64[n, F]
    unit: float  # of squared distances
    table: np.ndarray | None  # float64[n, n], by products; None: they are not precise
    blur: float  # error of the table; 0 without
    own: np.ndarray  # float64[n], squared distance to `near`, by differences
    near: np.ndarray  # int32[n], a centre
    rest: np.ndarray  # float64[n], all other centres are at least as far
    since: np.ndarray  # int[n], so many picks are among these centres
    value: np.ndarray  # float64[n], squared distance as far as known; -1: picked
    reach: np.ndarray  # float64[most picks, n], squared distances of picks to all


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
    error = 2 * products.slack(points.shape[-1], "float64") * length.max(initial=0)
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
        reach=np.empty((min(len(rows), budget), len(rows))),
    )
    picked, squared = _pick(work, rows, centers, outside)
    left = length[work.value >= 0].max(initial=0)
    missing = (0, len(rows) - len(picked))
    return Settled(
        _outcome(work, len(picked), len(centers)),
        np.pad(np.asarray(picked, np.int32), missing, constant_values=-1),
        np.pad(np.asarray(squared, np.float64), missing),
        np.float64(left),
        np.float64(work.blur),
    )


def _pick(
    work: _Work, rows: np.ndarray, centers: np.ndarray, outside: Outside
) -> tuple[list[int], list[float]]:
    """(candidates, squared distance of each at its time), in pick order."""
    value = work.value
    picked: list[int] = []
    squared: list[float] = []
    while len(picked) < len(work.reach):
        far = value.max()
        edge = max(0.0, max(far, outside.most) * (1 - TIE) - 4 * work.blur)
        first = (value >= edge).nonzero()[0]
        crowd = len(first) > 1 or outside.most >= edge
        doubtful = (at for at in first if _doubtful(work, at, len(picked), crowd))
        if (at := next(doubtful, None)) is not None:
            _measure(work, at, picked, centers)
            continue
        top = int(np.argmax(value >= tied(far))) if crowd else int(first[0])
        far = value[top]
        early = far >= outside.most * (1 - TIE) and rows[top] < outside.row
        if not (early or far > outside.most * (1 + TIE)):
            break
        reach = work.reach[len(picked)]
        reach[:] = _away(work, top) if work.table is None else work.table[top]
        np.minimum(value, reach, out=value)
        value[top] = -1
        picked.append(top)
        squared.append(far)
    return picked, squared


def _doubtful(work: _Work, at: int, picks: int, crowd: bool) -> bool:
    """Whether a centre may be nearer than known, or a difference between many count."""
    if 0 < work.value[at] > work.rest[at]:
        return True
    if not crowd or not work.blur:
        return False
    later = work.reach[work.since[at] : picks, at].min(initial=np.inf)
    return later < work.own[at] + 4 * work.blur


def _measure(work: _Work, at: int, picked: list[int], centers: np.ndarray) -> None:
    """Finds the nearest of all centres, by differences."""
    number = _near(work.raw[at], centers)
    others = np.concatenate([centers[number], work.raw[picked]])
    number = np.append(number, len(centers) + np.arange(len(picked)))
    far = work.unit * _squared(others - work.raw[at])
    work.near[at], work.since[at] = number[far.argmin()], len(picked)
    work.own[at] = work.rest[at] = work.value[at] = far.min()


def _near(point: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """int[m], those that products in float32 do not rule out as the nearest."""
    point = point.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.einsum("cf,cf->c", centers, centers)
        error = products.slack(len(point), "float32") * (length + point @ point)
        far = length - 2 * (centers @ point)
        return np.flatnonzero(~(far - error > (far + error).min()))


def _outcome(work: _Work, picks: int, count: int) -> Known:
    """What is known of the candidates in the end."""
    gone = work.value < 0
    if not picks:
        return Known(np.where(gone, -1, work.own), work.near, work.rest)
    later = np.arange(picks)[:, None] >= work.since
    later = np.where(later, work.reach[:picks], np.inf)
    least, at = later.min(0), later.argmin(0)
    later[at, np.arange(len(at))] = np.inf
    second = np.minimum(later.min(0), np.maximum(least, work.own))
    # What is small beside the points outside may be large beside these.
    exact = least >= work.own + 4 * work.blur
    bound = np.minimum(work.own, least) + np.where(exact, 0, work.blur)
    near = np.where(least < work.own, count + at, work.near).astype(np.int32)
    rest = np.minimum(work.rest, second) - work.blur
    return Known(np.where(gone, -1, bound), near, rest)


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
