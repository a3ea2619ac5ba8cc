"""Bounds of every point during a greedy selection, on the host: 40 bytes a point."""

from typing import NamedTuple

import numpy as np

from dact_jax.geometry import candidates, distances
from dact_jax.geometry.candidates import NearestCenter, Outside
from dact_jax.geometry.nearest import Survey, TwoNearest

_STRIDE = 16  # every 16th bound is in the sample


class Bounds(NamedTuple):
    """Arrays over the pool, padded to N rows; the functions below write to them.

    Each row keeps an upper bound on its squared distance to the nearest center. A bound
    is current if the row was compared with all centers, else it is stale: still an
    upper bound, because new centers only make distances shorter.
    """

    bound: np.ndarray  # float64[N], as in NearestCenter; -1: never to be picked
    center: np.ndarray  # int32[N], number of the center that gave the bound; -1: none
    others: np.ndarray  # float64[N], lower bound for the other centers compared
    compared: np.ndarray  # int32[N], leading centers that the row was compared with
    cell_compared: np.ndarray  # int32[N], the same among the centers of its cell
    cell: np.ndarray  # int32[N]
    squared_norm: np.ndarray  # float64[N], |x|^2 in the frame


def make(num: int, chosen: np.ndarray) -> Bounds:
    """Bounds of points that were not compared with any center yet.

    Args:
      num: N.
      chosen: int[L], rows that are never to be picked.
    """
    bound = np.full(num, np.inf)
    bound[chosen] = -1
    center, compared, cell_compared, cell = (np.zeros(num, np.int32) for _ in range(4))
    return Bounds(
        bound,
        center - 1,
        np.full(num, np.inf),
        compared,
        cell_compared,
        cell,
        np.zeros(num),
    )


def reset(bounds: Bounds) -> None:
    """Discards all comparisons with centers; chosen points stay chosen."""
    bounds.bound[bounds.bound >= 0] = np.inf
    bounds.center[:], bounds.others[:] = -1, np.inf
    bounds.compared[:] = bounds.cell_compared[:] = 0


def record_survey(bounds: Bounds, rows: np.ndarray, survey: Survey) -> None:
    """Records the norms and cells of rows int[S]; the survey holds NumPy arrays."""
    bounds.squared_norm[rows], bounds.cell[rows] = survey.squared_norm, survey.cell


def record_comparison(
    bounds: Bounds,
    rows: np.ndarray,
    result: TwoNearest,
    count: int,
    *,
    all_cells: bool,
    width: int,
    mode: str,
    error: float,
) -> None:
    """Updates the bounds of rows after a comparison with centers that are new to them.

    Args:
      bounds: of the pool.
      rows: int[S], the rows compared; a row may occur twice.
      result: NumPy arrays.
      count: the rows are now compared with the first `count` centers.
      all_cells: whether with all of these, or only with those in the row's cell.
      width: F.
      mode: of the distances, one of `distances.MODES`.
      error: largest error of the distances between candidates and picks so far.
    """
    bound, center = bounds.bound[rows], bounds.center[rows]
    may_be_picked, squared_norm = bound >= 0, bounds.squared_norm[rows]
    point_term = distances.point_term(squared_norm, width, mode)
    least, second = result.bound + point_term, result.second + point_term
    closer = least < bound
    # Of the old and the new nearest center, the farther joins the others, unless the
    # two are the same.
    others = np.where(closer & (center >= 0), bound, np.maximum(bound, least))
    same = (result.center == center) | (others == np.inf)
    others = np.where(same, np.inf, others)
    others = np.minimum(others, second)
    scale = distances.error_scale(squared_norm, mode)
    relative_error = distances.relative_error(width, mode)
    others = distances.lower_bound(others, scale, relative_error)
    # The bound of a former candidate may exceed its lower bound by this much.
    others -= 2 * error
    bounds.others[rows] = np.minimum(bounds.others[rows], others)
    bounds.center[rows] = np.where(closer, result.center, center)
    bounds.bound[rows] = np.where(may_be_picked, np.minimum(bound, least), bound)
    bounds.cell_compared[rows] = count
    if all_cells:
        bounds.compared[rows] = count


def record_candidates(
    bounds: Bounds, rows: np.ndarray, nearest: NearestCenter, count: int
) -> None:
    """Records the bounds of candidates after picks among them.

    Args:
      bounds: of the pool.
      rows: int[n], the candidates.
      nearest: their bounds, NumPy arrays.
      count: number of centers after the picks.
    """
    bounds.bound[rows], bounds.center[rows], bounds.others[rows] = nearest
    bounds.compared[rows] = bounds.cell_compared[rows] = count


def any_stale(bounds: Bounds, compared: np.ndarray, least: float, count: int) -> bool:
    """Whether a point not compared with all centers may lie at `least` or farther.

    Args:
      bounds: of the pool.
      compared: `bounds.compared` or `bounds.cell_compared`.
      least: a squared distance.
    """
    return bool(np.any((bounds.bound >= least) & (compared < count)))


def count_far(bounds: Bounds, count: int) -> int:
    """How many stale points may be farther than all not yet compared in their cell.

    Args:
      bounds: of the pool.
      count: centers; a point that was compared with fewer is stale.
    """
    bound, not_in_cell = bounds.bound, bounds.cell_compared < count
    least = np.max(bound, initial=-1, where=not_in_cell)
    return int(np.count_nonzero((bound >= least) & (bounds.compared < count)))


def rows_to_update(
    bounds: Bounds, stale: np.ndarray, size: int, part: int, least: float
) -> np.ndarray:
    """int[parts, a multiple of size], rows whose bounds are to be updated.

    In each part of the pool the stale rows with the largest bounds: `size` of them, or
    as many multiples of it as cover all above `least`, since each of these may be the
    farthest point. The lowest row of the largest bound is among them, if it is stale.
    (Where too few rows are stale, others are included.)

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
        _largest(b, size) if size < part else np.resize(np.arange(part), size)
        for b in bound
    ]
    return np.array(rows) + np.arange(len(bound))[:, None] * part


def choose_candidates(
    bounds: Bounds, size: int, count: int, *, spare: int
) -> tuple[np.ndarray, Outside]:
    """int[size or fewer] candidates, ascending rows with the largest current bounds.

    Args:
      bounds: of the pool.
      size: most candidates.
      count: centers; a bound is current if its row was compared with as many.
      spare: candidates besides those that may be picked.

    Returns:
      The candidates, and a summary of all other points.
    """
    outside = bounds.bound.copy()
    rows = np.flatnonzero((bounds.compared == count) & (outside >= 0))
    bound = outside[rows]
    outside[rows] = -1
    # A candidate below the largest stale bound cannot be picked.
    eligible = int(np.count_nonzero(bound >= candidates.tied(outside.max())))
    size = min(size, eligible + spare)
    if len(rows) > size:
        largest = _largest(bound, size)
        outside[rows] = bound
        rows = rows[largest]
        outside[rows] = -1
    most = outside.max()
    row = int(np.argmax(outside >= candidates.tied(most)))
    return rows, Outside(most, np.int32(row))


def _largest(bound: np.ndarray, size: int) -> np.ndarray:
    """int[size], rows of the largest, ascending; the lowest rows of those that tie."""
    rows = _superset_of_largest(bound, size)
    bound = bound[rows]
    least = np.partition(bound, len(bound) - size)[len(bound) - size]
    tied = candidates.tied(bound.max())
    if least >= tied:
        return rows[np.flatnonzero(bound >= tied)[:size]]
    # Not argpartition: its choice among equal values depends on the processor, and all
    # processes must choose the same.
    above = np.flatnonzero(bound > least)
    equal = np.flatnonzero(bound == least)[: size - len(above)]
    return rows[np.sort(np.append(above, equal))]


def _superset_of_largest(bound: np.ndarray, size: int) -> np.ndarray:
    """int[size or more], ascending rows that include the `size` largest.

    Those above a quantile of a sample: partitioning all takes several times as long.
    """
    sample = bound[::_STRIDE]
    rank = len(sample) - 2 * size // _STRIDE - _STRIDE
    if rank > 0:
        rows = np.flatnonzero(bound >= np.partition(sample, rank)[rank])
        if len(rows) >= size:
            return rows
    return np.arange(len(bound))
