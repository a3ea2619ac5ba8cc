"""What the host remembers of every point during a greedy selection: 24 bytes each."""

from typing import NamedTuple

import numpy as np

from dact_jax import nearest
from dact_jax.candidates import TIE, Known
from dact_jax.nearest import Found


class Bounds(NamedTuple):
    """Arrays over the pool; the functions below write into them."""

    bound: np.ndarray  # float64[N], as in Known; perhaps stale, still an upper bound
    near: np.ndarray  # int32[N]
    rest: np.ndarray  # float64[N], of the centres seen
    seen: np.ndarray  # int32[N], the first so many centres were compared with


class Outside(NamedTuple):
    """The points of a pool that are no candidates."""

    most: np.float64  # largest bound of a point that may be picked; -1: there is none
    row: np.int32  # the lowest row of those that tie for it


def unknown(num: int, chosen: np.ndarray) -> Bounds:
    """Bounds of points that were compared with nothing yet.

    Args:
      num: N.
      chosen: int[L], rows that are never to be picked.
    """
    seen = np.zeros(num, np.int32)
    bounds = Bounds(np.full(num, np.inf), seen - 1, np.full(num, np.inf), seen)
    bounds.bound[chosen] = -1
    return bounds


def forget(bounds: Bounds) -> None:
    """Takes back all that was learnt of the points that may be picked.

    Args:
      bounds: of the pool.
    """
    bounds.bound[bounds.bound >= 0] = np.inf
    bounds.near[:], bounds.rest[:], bounds.seen[:] = -1, np.inf, 0


def learn(
    bounds: Bounds,
    rows: np.ndarray,
    found: Found,
    count: int,
    *,
    slack: float,
    blur: float,
) -> None:
    """Takes in what rows found among the centres that they had not seen.

    Args:
      bounds: of the pool.
      rows: int[S], the rows compared; perhaps some twice.
      found: NumPy arrays.
      count: number of centres so far.
      slack: of the distances found.
      blur: largest error of the distances that candidates had to picks.
    """
    bound, near, free = bounds.bound[rows], bounds.near[rows], bounds.bound[rows] >= 0
    closer = found.least < bound
    # The nearest is one of two; the other joins the rest, unless they are the same.
    other = np.where(closer & (near >= 0), bound, np.maximum(bound, found.least))
    other = np.where((found.at == near) | (other == np.inf), np.inf, other)
    other = nearest.lower(np.minimum(other, found.second), found.length, slack)
    other -= 2 * blur  # a bound that a candidate got is so much above its lower one
    bounds.rest[rows] = np.minimum(bounds.rest[rows], other)
    bounds.near[rows] = np.where(closer, found.at, near)
    bounds.bound[rows] = np.where(free, np.minimum(bound, found.least), bound)
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
    bounds.seen[rows] = count


def stale(bounds: Bounds, least: float, count: int) -> bool:
    """Whether a point that does not know all centres may be farther than `least`.

    Args:
      bounds: of the pool.
      least: a squared distance.
      count: number of centres.
    """
    return bool(np.any((bounds.bound > least) & (bounds.seen < count)))


def promising(
    bounds: Bounds, size: int, part: int, least: float, count: int
) -> np.ndarray:
    """int[parts, a multiple of size], rows to bring up to date, the stalest first.

    In each part of the pool those with the largest bounds: `size` of them, or as many
    multiples of it as make up all whose bound is stale and above `least`, since each
    of these may be the farthest point. The lowest row of the largest bound is among
    them.

    Args:
      bounds: of the pool.
      size: rows of a block in a part.
      part: rows of a part.
      least: a squared distance that some point is known to have.
      count: number of centres.
    """
    starts = range(0, len(bounds.bound), part)
    parts = [Bounds(*(x[s : s + part] for x in bounds)) for s in starts]
    stale = [int(np.sum((p.bound > least) & (p.seen < count))) for p in parts]
    length = max(1, -(-max(stale) // size)) * size
    return np.array(
        [s + _largest(p, length) for s, p in zip(starts, parts, strict=True)]
    )


def _largest(part: Bounds, size: int) -> np.ndarray:
    few = size >= len(part.bound)
    rows = (
        np.resize(np.arange(len(part.bound)), size) if few else _top(part.bound, size)
    )
    return rows[np.argsort(part.seen[rows], kind="stable")]


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
    row = int(np.argmax(others >= _tied(others)))
    return rows, Outside(others.max(), np.int32(row))


def _top(bound: np.ndarray, size: int) -> np.ndarray:
    """int[size], the largest, ascending by row; of too many that tie, the lowest."""
    rows = np.argpartition(bound, len(bound) - size)[len(bound) - size :]
    least = _tied(bound)
    if bound[rows].min() >= least:
        return np.flatnonzero(bound >= least)[:size]
    return np.sort(rows)


def _tied(bound: np.ndarray) -> float:
    """What ties with the largest."""
    most = float(bound.max())
    return most * (1 - TIE) if most > 0 else most
