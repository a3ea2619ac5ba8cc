"""Coverage in NumPy, in threads, for a pool on the host whose only device is the CPU.

Upper bounds of gains are float32 products; what is decided is float64.
"""

import numpy as np

from dact_jax.geometry.coverage import kernels, products, targets
from dact_jax.geometry.coverage.targets import Targets
from dact_jax.geometry.on_host import workers

_NUMBERS = 2**19  # of products at once, in each thread
_ROWS = 8192  # of points at once, at most
_STRIP = 1024  # points of a float64 product
_PAIRS = 2**21  # numbers of pairs that are compared by differences at once
_PRODUCT_ERROR = 2.0**-38  # of float64 exponents, above which differences are taken
_DENSE = 1 / 8  # share of pairs above which products cost less than differences
_NEW = 512  # new points that all points are compared with at once


def gains(
    state: Targets, at: np.ndarray, coverage: np.ndarray, mode: str
) -> np.ndarray:
    """float64[m], upper bounds of the gains of points.

    Args:
      state: the points.
      at: int64[m], their numbers.
      coverage: float64[M], c.
      mode: "float32" or "float64", of the products.
    """
    z, z_term = products.second(state, at, mode, side=1)
    least = products.rounded(coverage, mode, up=False)
    weight = state.weight.astype(mode)

    def add(part: slice) -> np.ndarray:
        k = products.similar(state, part, z, z_term, mode, side=1)
        k -= least[part, None]
        return weight[part] @ np.maximum(k, 0, out=k)

    size = max(256, min(_ROWS, _NUMBERS // len(at)))
    sums = workers.each(add, products.parts(state.num, size))
    return products.inflate(state, sum(sums, np.zeros(len(at))), size, mode)


def similarities(state: Targets, at: np.ndarray, mode: str) -> np.ndarray:
    """float64[M], upper bounds of each point's sum of w k to a sample.

    Args:
      state: the points.
      at: int64[m], numbers of the sample.
      mode: "float32" or "float64", of the products.
    """
    z, z_term = products.second(state, at, mode, side=1)
    weight = state.weight[at].astype(mode)

    def add(part: slice) -> np.ndarray:
        return products.similar(state, part, z, z_term, mode, side=1) @ weight

    parts = products.parts(state.num, max(256, min(_ROWS, _NUMBERS // len(at))))
    return np.concatenate(list(workers.each(add, parts))).astype(np.float64)


def exact_gains(
    state: Targets, at: np.ndarray, coverage: np.ndarray, mode: str
) -> np.ndarray:
    """float64[m], the gains of points.

    Only pairs that may add something are computed in float64.

    Args:
      state: the points.
      at: int64[m], their numbers.
      coverage: float64[M], c.
      mode: "float32" or "float64", of the products that find these pairs.
    """
    z, z_term = products.second(state, at, mode, side=1)
    least = products.rounded(coverage, mode, up=False)
    largest = state.size[at].max()

    def add(part: slice) -> np.ndarray:
        active = (
            products.similar(state, part, z, z_term, mode, side=1) > least[part, None]
        )
        rows = np.flatnonzero(active.any(1)) + part.start
        sizes = state.size[rows] + largest
        error = kernels.error(sizes, state.pool.width, "float64").max(initial=0)
        dense = active.mean() > _DENSE and error <= _PRODUCT_ERROR
        if dense and state.kernel.name != "top_hat":
            return _by_products(state, rows, at, coverage)
        i, a = np.nonzero(active)
        i += part.start
        more = _by_pairs(state, i, at[a]) - coverage[i]
        return np.bincount(a, state.weight[i] * np.maximum(more, 0), len(at))

    size = max(256, min(_ROWS, _NUMBERS // len(at)))
    return sum(workers.each(add, products.parts(state.num, size)), np.zeros(len(at)))


def cover(
    state: Targets, new: np.ndarray, coverage: np.ndarray, mode: str
) -> np.ndarray:
    """float64[M], the coverage with new points: exact, by differences.

    Args:
      state: the points.
      new: int64[L], numbers of points.
      coverage: float64[M], c.
      mode: "float32" or "float64", of the products that find what may be nearest.
    """
    for first in range(0, len(new), _NEW):
        coverage = _cover(state, new[first : first + _NEW], coverage, mode)
    return coverage


def _cover(
    state: Targets, at: np.ndarray, coverage: np.ndarray, mode: str
) -> np.ndarray:
    width = state.pool.width
    z, z_term = products.second(state, at, mode, side=0)
    z_error = kernels.error(state.size[at], width, mode).astype(mode)
    least = products.rounded(coverage, mode, up=False)

    def nearest(part: slice) -> np.ndarray:
        y = kernels.placed(state.kernel, targets.read(state, part), np.dtype(mode))
        p = y @ z.T
        p += products.term(state, part, mode, 0)[:, None]
        p += z_term
        error = kernels.error(state.size[part], width, mode).astype(mode)
        off = error[:, None] + z_error
        low = (p - off).max(1, keepdims=True)
        p += off
        mask = p >= low
        mask &= kernels.value(state.kernel, p) > least[part, None]
        i, a = np.nonzero(mask)
        after = coverage[part].copy()
        np.maximum.at(after, i, _by_pairs(state, i + part.start, at[a]))
        return after

    size = max(256, min(_ROWS, _NUMBERS // len(at)))
    return np.concatenate(list(workers.each(nearest, products.parts(state.num, size))))


def _by_products(
    state: Targets, rows: np.ndarray, at: np.ndarray, coverage: np.ndarray
) -> np.ndarray:
    z, z_term = products.second(state, at, "float64", side=0)
    total = np.zeros(len(at))
    for s in products.parts(len(rows), _STRIP):
        k = products.similar(state, rows[s], z, z_term, "float64", side=0)
        k -= coverage[rows[s], None]
        total += state.weight[rows[s]] @ np.maximum(k, 0, out=k)
    return total


def _by_pairs(state: Targets, i: np.ndarray, a: np.ndarray) -> np.ndarray:
    """float64[n], k of pairs of points."""
    size = max(1, _PAIRS // state.pool.width)
    parts = [
        kernels.of_pairs(
            state.kernel, targets.read(state, i[s]), targets.read(state, a[s])
        )
        for s in products.parts(len(i), size)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)
