"""What the host remembers of every point during a greedy selection: 40 bytes each."""

from typing import NamedTuple

import numpy as np

from dact_jax.geometry import candidates, distances
from dact_jax.geometry.candidates import Known, Outside
from dact_jax.geometry.nearest import Found, Survey

_FEW = 16  # one of so many bounds tells about all


class Bounds(NamedTuple):
    """Arrays over the pool; the functions below write into them."""

    bound: np.ndarray  # float64[N], as in Known; perhaps stale, still an upper bound
    near: np.ndarray  # int32[N]
    rest: np.ndarray  # float64[N], of the centres seen
    seen: np.ndarray  # int32[N], the first so many centres were compared with
    tried: np.ndarray  # int32[N], and so many, as far as they are in the point's cell
    cell: np.ndarray  # int32[N]
    length: np.ndarray  # float64[N], |x|^2 in the frame


def unknown(num: int, chosen: np.ndarray) -> Bounds:
    """Bounds of points that were compared with nothing yet.

    Args:
      num: N.
      chosen: int[L], rows that are never to be picked.
    """
    bound, rest, length = np.full(num, np.inf), np.full(num, np.inf), np.zeros(num)
    seen, tried, cell = (np.zeros(num, np.int32) for _ in range(3))
    bound[chosen] = -1
    return Bounds(bound, seen - 1, rest, seen, tried, cell, length)


def forget(bounds: Bounds) -> None:
    """Takes back all that was learnt of the points that may be picked.

    Args:
      bounds: of the pool.
    """
    bounds.bound[bounds.bound >= 0] = np.inf
    bounds.near[:], bounds.rest[:] = -1, np.inf
    bounds.seen[:] = bounds.tried[:] = 0


def learn_once(bounds: Bounds, rows: np.ndarray, survey: Survey) -> None:
    """Takes in what never changes again.

    Args:
      bounds: of the pool.
      rows: int[S], the rows surveyed.
      survey: NumPy arrays.
    """
    bounds.length[rows], bounds.cell[rows] = survey.length, survey.cell


def learn(
    bounds: Bounds,
    rows: np.ndarray,
    found: Found,
    count: int,
    *,
    everywhere: bool,
    width: int,
    mode: str,
    blur: float,
) -> None:
    """Takes in what rows found among the centres that they had not seen.

    Args:
      bounds: of the pool.
      rows: int[S], the rows compared; perhaps some twice.
      found: NumPy arrays.
      count: number of centres that they know now.
      everywhere: not only among those of their cell.
      width: F.
      mode: of the distances found, one of `products.MODES`.
      blur: largest error of the distances that candidates had to picks.
    """
    bound, near, free = bounds.bound[rows], bounds.near[rows], bounds.bound[rows] >= 0
    length = bounds.length[rows]
    own = distances.own(length, width, mode)
    least, second = found.least + own, found.second + own
    closer = least < bound
    # The nearest is one of two; the other joins the rest, unless they are the same.
    other = np.where(closer & (near >= 0), bound, np.maximum(bound, least))
    other = np.where((found.at == near) | (other == np.inf), np.inf, other)
    other = np.minimum(other, second)
    slack = distances.slack(width, mode)
    other = distances.lower(other, distances.error(length, mode), slack)
    other -= 2 * blur  # a bound that a candidate got is so much above its lower one
    bounds.rest[rows] = np.minimum(bounds.rest[rows], other)
    bounds.near[rows] = np.where(closer, found.at, near)
    bounds.bound[rows] = np.where(free, np.minimum(bound, least), bound)
    bounds.tried[rows] = count
    if everywhere:
        bounds.seen[rows] = count


def settle(bounds: Bounds, rows: np.ndarray, known: Known, count: int) -> None:
    """Takes in what became of candidates.

    Args:
      bounds: of the pool.
      rows: int[n], the candidates.
      known: NumPy arrays.
      count: number of centres now.
    """
    bounds.bound[rows], bounds.near[rows], bounds.rest[rows] = known
    bounds.seen[rows] = bounds.tried[rows] = count


def stale(bounds: Bounds, seen: np.ndarray, least: float, count: int) -> bool:
    """Whether a point that does not know all centres may be at least so far.

    Args:
      bounds: of the pool.
      seen: int32[N], how many each knows: `bounds.seen` or `bounds.tried`.
      least: a squared distance.
      count: number of centres.
    """
    return bool(np.any((bounds.bound >= least) & (seen < count)))


def promising(
    bounds: Bounds, stale: np.ndarray, size: int, part: int, least: float
) -> np.ndarray:
    """int[parts, a multiple of size], rows to bring up to date.

    In each part of the pool the stale ones with the largest bounds: `size` of them, or
    as many multiples of it as make up all above `least`, since each of these may be the
    farthest point. The lowest row of the largest bound is among them, if it is stale.
    (Where too few are stale, others are among them, too.)

    Args:
      bounds: of the pool.
      stale: bool[N].
      size: rows of a block in a part.
      part: rows of a part.
      least: a squared distance that some point is known to have.
    """
    bound = np.where(stale, bounds.bound, -1).reshape(-1, part)
    above = max(int(np.count_nonzero(b > least)) for b in bound)
    size *= max(1, -(-above // size))
    rows = [
        _top(b, size) if size < part else np.resize(np.arange(part), size)
        for b in bound
    ]
    return np.array(rows) + np.arange(len(bound))[:, None] * part


def shortlist(bounds: Bounds, size: int, count: int) -> tuple[np.ndarray, Outside]:
    """int[size or fewer] candidates, ascending: the largest of the bounds up to date.

    Args:
      bounds: of the pool.
      size: most candidates.
      count: number of centres.

    Returns:
      The candidates, and what must be known of all others.
    """
    rows = np.flatnonzero((bounds.seen == count) & (bounds.bound >= 0))
    if len(rows) > size:
        rows = rows[_top(bounds.bound[rows], size)]
    others = bounds.bound.copy()
    others[rows] = -1
    row = int(np.argmax(others >= candidates.tied(others.max())))
    return rows, Outside(others.max(), np.int32(row))


def _top(bound: np.ndarray, size: int) -> np.ndarray:
    """int[size], the largest, ascending by row; of too many that tie, the lowest."""
    rows = _upper(bound, size)
    bound = bound[rows]
    edge = np.partition(bound, len(bound) - size)[len(bound) - size]
    tied = candidates.tied(bound.max())
    if edge >= tied:
        return rows[np.flatnonzero(bound >= tied)[:size]]
    # Not argpartition: which of equal ones it takes depends on the processor, and all
    # processes must take the same.
    above = np.flatnonzero(bound > edge)
    equal = np.flatnonzero(bound == edge)[: size - len(above)]
    return rows[np.sort(np.append(above, equal))]


def _upper(bound: np.ndarray, size: int) -> np.ndarray:
    """int[size or more], ascending, among which the `size` largest are.

    What is above a quantile of a few: to sort out all takes several times as long.
    """
    few = bound[::_FEW]
    least = len(few) - 2 * size // _FEW - _FEW
    if least > 0:
        rows = np.flatnonzero(bound >= np.partition(few, least)[least])
        if len(rows) >= size:
            return rows
    return np.arange(len(bound))
