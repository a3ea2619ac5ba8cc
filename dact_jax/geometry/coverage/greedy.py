"""Lazy greedy maximization: gains are bounded from above, and few are computed.

`coverage.herding` explains why the picks are exact.
"""

from types import ModuleType
from typing import NamedTuple

import numpy as np

from dact_jax.geometry.coverage import kernels, on_devices, on_host, pairs, products
from dact_jax.geometry.coverage.targets import Targets
from dact_jax.geometry.farthest_first import ReportProgress

# Gains that agree to this share of the total weight are equal, and the lowest row wins.
TIE = 2.0**-36
_BLOCK, _MORE = 64, 256  # points whose bounds are brought up to date at once
_EXACT = 8  # points whose gains are computed in float64 at once
_NEAR = 2.0**-9  # share of the largest bound within which others are computed as well
_GUESSED_FROM = 1024  # points, equally spaced, from which the first pick is guessed
_FLOAT32_ERROR = 2.0**-6  # of most exponents, above which products are float64
# Scales between which float32 holds 2 / scale^2 and products with it.
_FLOAT32_SCALES = 2.0**-50, 2.0**50
_STALE, _BOUNDED, _COMPUTED = 0, 1, 2  # what is known of a point's gain in this pick


class Search(NamedTuple):
    """State of the selection; arrays are written to."""

    state: Targets
    mode: str  # of products that give bounds
    tie: float  # gains that differ by less are equal
    bound: np.ndarray  # float64[M], upper bound of the gain; -1: not to be picked
    known: np.ndarray  # int8[M], one of _STALE, _BOUNDED, _COMPUTED
    coverage: np.ndarray  # float64[M], c


def maximize(
    state: Targets,
    candidates: np.ndarray,
    covered: np.ndarray,
    budget: int,
    report_progress: ReportProgress,
) -> tuple[np.ndarray, np.ndarray]:
    """Picks the point whose gain is largest, until the budget is spent or gains are 0.

    Args:
      state: M points.
      candidates: bool[M], points that may be picked.
      covered: int64[L], numbers of points that are chosen already.
      budget: most picks.
      report_progress: called with (picks so far, budget) after each pick.

    Returns:
      (int64[n], float64[n]): numbers of the points in pick order, and their gains.
    """
    report_progress(0, budget)
    search, guess, later = _start(state, candidates, covered, budget)
    picks: list[int] = []
    gains: list[float] = []
    while len(picks) < budget:
        number = _next(search)
        if number is None:
            break
        picks.append(number)
        gains.append(float(search.bound[number]))
        report_progress(len(picks), budget)
        if len(picks) == budget:
            break
        first = number == guess and len(picks) == 1
        search = _add(search, number, later if first else None)
    report_progress(budget, budget)
    return np.array(picks, np.int64), np.array(gains)


def _start(
    state: Targets, candidates: np.ndarray, covered: np.ndarray, budget: int
) -> tuple[Search, int, tuple[np.ndarray, np.ndarray] | None]:
    """(search, a guess of the first pick or -1, coverage and bounds if it is right)."""
    typical = kernels.error(np.median(state.size), state.pool.width, "float32")
    low, high = _FLOAT32_SCALES
    fits = 2 * typical <= _FLOAT32_ERROR and low <= state.kernel.scale <= high
    mode = "float32" if fits else "float64"
    coverage = np.zeros(state.num)
    if len(covered):
        coverage = _where(state).cover(state, covered, coverage, mode)
    bound = np.where(candidates, np.inf, -1.0)
    known = np.full(state.num, _STALE, np.int8)
    tie = TIE * float(state.weight.sum())
    search = Search(state, mode, tie, bound, known, coverage)
    if len(covered) or budget < 2 or not state.on_host:
        _bound_all(search)
        return search, -1, None
    guess = _guess(search)
    after = on_host.cover(state, np.array([guess]), coverage, mode)
    least = products.rounded(after, mode, up=False)
    both = pairs.gains(state, None, (None, least), mode, side=1)
    now, later = products.inflate(state, both, pairs.SUMMED, mode)
    np.minimum(bound, now, out=bound)
    return search, guess, (after, later)


def _guess(search: Search) -> int:
    """The point that has the largest gain, probably."""
    state, mode = search.state, search.mode
    sample = np.linspace(0, state.num - 1, min(_GUESSED_FROM, state.num)).astype(int)
    about = on_host.similarities(state, sample, mode)
    about[search.bound < 0] = -1
    best = np.argsort(-about, kind="stable")[:_MORE]
    gain = on_host.gains(state, best, search.coverage, mode)
    gain[search.bound[best] < 0] = -1
    return int(best[np.argmax(gain)])


def _bound_all(search: Search) -> None:
    """Brings all bounds up to date."""
    state, mode, bound = search.state, search.mode, search.bound
    free = np.flatnonzero(bound >= 0)
    if state.on_host and 2 * len(free) > state.num:
        least = products.rounded(search.coverage, mode, up=False)
        (gain,) = pairs.gains(state, None, (least,), mode, side=1)
        np.minimum(bound, products.inflate(state, gain, pairs.SUMMED, mode), out=bound)
        search.known[free] = _BOUNDED
        return
    size = _MORE if state.on_host else max(1, len(free))
    for first in range(0, len(free), size):
        _bound(search, free[first : first + size])


def _bound(search: Search, at: np.ndarray) -> None:
    where = _where(search.state)
    gain = where.gains(search.state, at, search.coverage, search.mode)
    search.bound[at] = np.minimum(search.bound[at], gain)
    search.known[at] = _BOUNDED


def _next(search: Search) -> int | None:
    """The candidate with the largest gain, whose bound is its gain then.

    None: no candidate gains anything.
    """
    bound, known, state = search.bound, search.known, search.state
    count = _EXACT
    while (top := float(bound.max())) > search.tie:
        lowest = int(np.argmax(bound >= top - search.tie))
        if known[lowest] == _COMPUTED:
            rival = _rival(search, lowest, top)
            if rival is None:
                return lowest
            lowest = rival
        if known[lowest] == _BOUNDED:
            at = _largest(search, _BOUNDED, top * (1 - _NEAR), count)
            at = np.union1d(at, lowest)
            compute = _where(state).exact_gains
            bound[at] = compute(state, at, search.coverage, search.mode)
            known[at] = _COMPUTED
            count = min(2 * count, _MORE)  # many are close to one another
            continue
        computed = bound[known == _COMPUTED].max(initial=0)
        stale = np.count_nonzero((known == _STALE) & (bound >= computed))
        if computed and 2 * stale > state.num:
            _bound_all(search)
            continue
        at = _largest(search, _STALE, computed, _MORE if computed else _BLOCK)
        _bound(search, np.union1d(at, lowest))
    return None


def _rival(search: Search, lowest: int, top: float) -> int | None:
    """A point that must be known better before a computed one is picked, if any.

    While the largest gain is less than the largest bound, points below `lowest` may
    tie with it that do not reach the bound.
    """
    bound, known = search.bound, search.known
    gain = float(bound[known == _COMPUTED].max())
    if gain == top:
        return None
    if gain > search.tie:
        first = int(np.argmax(bound >= gain - search.tie))
        if first == lowest:
            return None
        if known[first] != _COMPUTED:
            return first
    return int(np.argmax(bound))


def _where(state: Targets) -> ModuleType:
    return on_host if state.on_host else on_devices


def _largest(search: Search, known: int, least: float, count: int) -> np.ndarray:
    """int64[n], n <= count points of which this is known, with the largest bounds."""
    at = np.flatnonzero((search.known == known) & (search.bound >= least))
    if len(at) <= count:
        return at
    return at[np.argpartition(-search.bound[at], count)[:count]]


def _add(
    search: Search, number: int, guessed: tuple[np.ndarray, np.ndarray] | None
) -> Search:
    """The search with one more point covered.

    Bounds stay upper bounds, since gains only decrease. Where a point is now covered
    better, what this takes from the gains of such points is subtracted from theirs.
    """
    state, mode, bound = search.state, search.mode, search.bound
    before = search.coverage
    bound[number] = -1
    search.known[:] = _STALE
    if guessed is not None:
        np.minimum(bound, guessed[1], out=bound)
        return search._replace(coverage=guessed[0])
    after = _where(state).cover(state, np.array([number]), before, mode)
    at = np.flatnonzero(after > before)
    if state.on_host and 2 * len(at) <= state.num:
        old = products.rounded(before[at], mode, up=True)
        new = products.rounded(after[at], mode, up=False)
        gain, less = pairs.gains(state, at, (old, new), mode, side=-1)
        lost = products.inflate(state, gain, -pairs.SUMMED, mode)
        lost -= products.inflate(state, less, pairs.SUMMED, mode)
        free = at[bound[at] >= 0]
        lost = np.maximum(lost, 0)[bound[at] >= 0]
        bound[free] = np.maximum(bound[free] - lost, 0)
    return search._replace(coverage=after)
