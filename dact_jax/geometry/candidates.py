"""Greedy picks among a few candidates: repeatedly the farthest from all centers.

In float64, by differences, on the host: a pick takes a few hundred numbers.
"""

from typing import NamedTuple

import numpy as np

from dact_jax.geometry import distances
from dact_jax.geometry.distances import Frame

# Squared distances that agree to this share are equal (float64 rounds their sums of
# thousands of terms to about 1e-13), and the lowest row wins.
TIE = 2.0**-40
_CHUNK = 128  # centers measured at once when a candidate is checked again


class NearestCenter(NamedTuple):
    """Bounds of n points' distances to the centers that they were compared with."""

    bound: np.ndarray  # float64[n], upper bound of the squared distance to the nearest;
    # -1: never to be picked
    center: np.ndarray  # int32[n], number of a center within that bound; -1: none yet
    others: np.ndarray  # float64[n], lower bound for all other centers


class Outside(NamedTuple):
    """The points of a pool that are not candidates."""

    bound: np.float64  # largest bound of a point that may be picked; -1: there is none
    row: np.int32  # the lowest row of those that tie for it


class Picks(NamedTuple):
    """Picks among n candidates, and the candidates' bounds afterwards."""

    nearest: NearestCenter
    order: np.ndarray  # int32[n], the picked candidates in pick order, then -1
    squared: np.ndarray  # float64[n], squared distance of each when it was picked
    squared_norm: np.float64  # largest |x|^2 of the candidates that are not picked
    error: np.float64  # largest error of distances between candidates and picks


class _State(NamedTuple):
    """State of n candidates; `pick` writes to the fields from `exact` on."""

    points: np.ndarray  # float64[n, F]
    origin: np.ndarray  # float[F], of the frame
    unit: float  # squared distances in the frame per squared distance of points
    table: np.ndarray | None  # float64[n, n] by products; None: not precise enough
    error: float  # of the table; 0 without a table
    exact: np.ndarray  # float64[n], squared distance to `center`, by differences
    center: np.ndarray  # int32[n]
    others: np.ndarray  # float64[n], lower bound for all other centers
    num_picks: np.ndarray  # int[n], picks already included in the three above
    value: np.ndarray  # float64[n], least squared distance computed so far; -1: picked
    picked: list[int]  # candidates in pick order
    squared: list[float]  # squared distance of each when it was picked
    to_pick: list[np.ndarray]  # float64[n] for each pick, squared distances to it


def pick(
    rows: np.ndarray,
    points: np.ndarray,
    nearest: NearestCenter,
    centers: np.ndarray,
    frame: Frame,
    outside: Outside,
    budget: int,
    *,
    table_error: float,
) -> Picks:
    """Picks candidates while no other point of the pool can be farther.

    A candidate's distance is measured to `nearest.center`, by differences. After a pick
    the distances of the others are updated from a table of float64 products where its
    error is small compared with the distances outside, else by differences. Before a
    pick, every candidate that may be the farthest within that error, or that may have a
    nearer center (`others`), is measured against all centers by differences.

    Args:
      rows: int[n], row of each candidate in the pool, ascending.
      points: float[n, F], the candidates.
      nearest: of the candidates, all compared with every center, none picked.
      centers: float[C, F].
      frame: of the distances.
      outside: all other points.
      budget: most picks.
      table_error: largest error of the table as a share of `outside.bound`.
    """
    raw, scale = points.astype(np.float64), float(frame.scale)
    placed = (raw - np.asarray(frame.origin)) * scale
    norm = _squared_norm(placed)
    relative_error = distances.relative_error(points.shape[-1], "float64")
    error = 2 * relative_error * norm.max(initial=0)
    precise = error <= table_error * outside.bound
    exact = scale**2 * _squared_norm(raw - centers[nearest.center])
    state = _State(
        raw,
        np.asarray(frame.origin),
        scale**2,
        table=_table(placed, norm) if precise else None,
        error=error if precise else 0.0,
        exact=exact,
        center=nearest.center.copy(),
        others=nearest.others.copy(),
        num_picks=np.zeros(len(rows), int),
        value=exact.copy(),
        picked=[],
        squared=[],
        to_pick=[],
    )
    _pick(state, rows, centers, outside, min(budget, len(rows)))
    order, squared = np.full(len(rows), -1, np.int32), np.zeros(len(rows))
    num = len(state.picked)
    order[:num], squared[:num] = state.picked, state.squared
    longest = np.float64(norm[state.value >= 0].max(initial=0))
    nearest = _final_bounds(state, len(centers))
    return Picks(nearest, order, squared, longest, np.float64(state.error))


def _pick(
    state: _State, rows: np.ndarray, centers: np.ndarray, outside: Outside, budget: int
) -> None:
    value, limit = state.value, float(outside.bound)
    while len(state.picked) < budget:
        top = int(np.argmax(value))
        edge = max(0.0, max(float(value[top]), limit) * (1 - TIE) - 4 * state.error)
        first = (value >= edge).nonzero()[0].tolist()
        contested = len(first) > 1 or limit >= edge
        doubtful = (at for at in first if _doubtful(state, at, contested))
        if (at := next(doubtful, None)) is not None:
            _measure(state, at, centers)
            continue
        if contested:
            top = int(np.argmax(value >= tied(value[top])))
        squared = float(value[top])
        wins_tie = squared >= limit * (1 - TIE) and rows[top] < outside.row
        if not (wins_tie or squared > limit * (1 + TIE)):
            break
        to_top = _to_candidate(state, top) if state.table is None else state.table[top]
        np.minimum(value, to_top, out=value)
        value[top] = -1
        state.picked.append(top)
        state.squared.append(squared)
        state.to_pick.append(to_top)


def _doubtful(state: _State, at: int, contested: bool) -> bool:
    """Whether another center may be nearer, or the table's error may decide."""
    if 0 < state.value[at] > state.others[at]:
        return True
    if not contested or state.table is None:
        return False
    later = state.table[at, state.picked[state.num_picks[at] :]].min(initial=np.inf)
    return bool(later < state.exact[at] + 4 * state.error)


def _measure(state: _State, at: int, centers: np.ndarray) -> None:
    """Finds the nearest of all centers and picks, by differences."""
    point, num_picks = state.points[at], len(state.picked)
    number = _possibly_nearest(point, centers, state.origin)
    chunks = np.split(number, range(_CHUNK, len(number), _CHUNK))
    others = (*(centers[chunk] for chunk in chunks), state.points[state.picked])
    squared = np.concatenate([_squared_norm(block - point) for block in others])
    squared *= state.unit
    number = np.append(number, len(centers) + np.arange(num_picks))
    state.center[at], state.num_picks[at] = number[np.argmin(squared)], num_picks
    state.exact[at] = state.others[at] = state.value[at] = np.min(squared)


def _possibly_nearest(
    point: np.ndarray, centers: np.ndarray, origin: np.ndarray
) -> np.ndarray:
    """int[m], the centers that float32 products do not exclude as the nearest."""
    if centers.dtype != np.float32:  # a far origin would leave nothing of float32
        point, centers = point - origin, (centers - origin).astype(np.float32)
    point = point.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        norm = _squared_norm(centers)
        error = distances.error_scale(norm + point @ point, "float32")
        error = distances.relative_error(len(point), "float32") * error
        squared = norm - 2 * (centers @ point)  # less |x|^2, the same for all
        return np.flatnonzero(~(squared - error > (squared + error).min()))


def _final_bounds(state: _State, count: int) -> NearestCenter:
    """Bounds of the candidates, with the picks as centers count, count + 1, ..."""
    if not state.picked:
        return NearestCenter(state.exact, state.center, state.others)
    later = np.arange(len(state.picked))[:, None] >= state.num_picks
    later = np.where(later, state.to_pick, np.inf)
    least, nearest = later.min(0), later.argmin(0)
    later[nearest, np.arange(len(nearest))] = np.inf
    second = np.minimum(later.min(0), np.maximum(least, state.exact))
    # An error that is small beside the points outside may be large beside these.
    certain = least >= state.exact + 4 * state.error
    bound = np.minimum(state.exact, least) + np.where(certain, 0, state.error)
    center = np.where(least < state.exact, count + nearest, state.center)
    others = np.minimum(state.others, second) - state.error
    bound = np.where(state.value < 0, -1, bound)
    return NearestCenter(bound, center.astype(np.int32), others)


def tied(largest: float) -> float:
    """The least value that ties with the largest one."""
    return largest * (1 - TIE) if largest > 0 else largest


def _to_candidate(state: _State, at: int) -> np.ndarray:
    """float64[n], squared distances to one candidate, by differences."""
    return state.unit * _squared_norm(state.points - state.points[at])


def _squared_norm(values: np.ndarray) -> np.ndarray:
    return np.einsum("nf,nf->n", values, values)


def _table(placed: np.ndarray, squared_norm: np.ndarray) -> np.ndarray:
    """float64[n, n], squared distances by a product."""
    table = placed @ placed.T
    table *= -2
    table += squared_norm[:, None]
    table += squared_norm
    return np.maximum(table, 0, out=table)
