"""Plain greedy k-center: one pass over all points for each pick, in NumPy.

Distances by products of float64 say which few points may be the farthest; where these
are several, differences decide, so picks are those of differences alone. For small jobs
this takes less than the calls of a compiled program.
"""

from typing import NamedTuple

import numpy as np

from dact_jax.geometry import distances
from dact_jax.geometry.candidates import TIE, tied

_AT_ONCE = 2**20  # numbers of a temporary array, at most


class _State(NamedTuple):
    """Written to while points are picked."""

    points: np.ndarray  # float64[N, F]
    center: np.ndarray  # int[L + budget], rows of the centers, as far as chosen
    exact: np.ndarray  # float64[N], by differences, to the centers that are compared
    compared: np.ndarray  # int[N], leading centers that `exact` includes


def scan(
    points: np.ndarray, chosen: np.ndarray, budget: int
) -> tuple[np.ndarray, np.ndarray]:
    """Picks the farthest point `budget` times.

    Args:
      points: float64[N, F], finite.
      chosen: int[L], the rows of the centers, at least one.
      budget: at most N - L.

    Returns:
      int32[budget], the rows; float64[budget], the squared distance of each to the
      nearest center when it was picked.
    """
    num, count = len(points), len(chosen)
    placed = points - points.mean(0)
    norm = np.einsum("nf,nf->n", placed, placed)
    error = distances.relative_error(points.shape[1], "float64") * 2 * norm.max()
    center = np.append(chosen, np.zeros(budget, chosen.dtype))
    state = _State(points, center, np.full(num, np.inf), np.zeros(num, np.int64))
    value = _nearest(placed, norm, chosen)
    away = np.empty(num)
    for number in range(count, count + budget):
        row = int(value.argmax())
        most, value[row] = value[row], -np.inf
        edge = most - abs(most) * TIE - 4 * error
        if value.max() >= edge:
            value[row] = most
            row = _farthest(state, np.flatnonzero(value >= edge), number)
            value[row] = -np.inf
        center[number] = row
        np.dot(placed, -2 * placed[row], out=away)
        away += norm
        away += norm[row]
        np.minimum(value, away, out=value)
    return center[count:].astype(np.int32), _squared(points, center, count)


def _nearest(placed: np.ndarray, norm: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """float64[N], squared distances to the nearest chosen row; -inf if it is one."""
    value = np.full(len(placed), np.inf)
    size = max(1, _AT_ONCE // len(placed))
    for first in range(0, len(chosen), size):
        rows = chosen[first : first + size]
        away = placed @ (-2 * placed[rows].T)  # [N, size]
        away += norm[rows]
        np.minimum(value, away.min(1) + norm, out=value)
    value[chosen] = -np.inf
    return value


def _farthest(state: _State, rows: np.ndarray, count: int) -> int:
    """The farthest of some rows, by differences; the lowest of those that tie."""
    _measure(state, rows, count)
    exact = state.exact[rows]
    return int(rows[np.argmax(exact >= tied(exact.max()))])


def _measure(state: _State, rows: np.ndarray, count: int) -> None:
    """Includes the first `count` centers in the exact distances of rows.

    Every row meets every center at most once, by rows or by centers, whichever are
    fewer.
    """
    points, center, exact, compared = state
    first = int(compared[rows].min())
    if len(rows) <= count - first:
        for row in rows:
            others = points[center[compared[row] : count]]
            squared = _squared_norm(others - points[row])
            exact[row] = min(exact[row], squared.min(initial=np.inf))
    else:
        for number in range(first, count):
            behind = rows[compared[rows] <= number]
            squared = _squared_norm(points[behind] - points[center[number]])
            exact[behind] = np.minimum(exact[behind], squared)
    compared[rows] = count


def _squared(points: np.ndarray, center: np.ndarray, count: int) -> np.ndarray:
    """float64[budget], by differences, of each pick to the centers before it."""
    total, chosen = len(center), points[center]
    squared = np.empty(total - count)
    size = max(1, _AT_ONCE // chosen.size)
    for first in range(count, total, size):
        last = min(first + size, total)
        away = _squared_norm(chosen[first:last, None] - chosen[None, :last])
        later = np.arange(last) >= np.arange(first, last)[:, None]
        squared[first - count : last - count] = np.where(later, np.inf, away).min(1)
    return squared


def _squared_norm(values: np.ndarray) -> np.ndarray:
    return np.einsum("...f,...f->...", values, values)
