"""Gains of points among themselves, where one product serves both points of a pair."""

from collections.abc import Sequence

import numpy as np

from dact_jax.geometry.coverage import kernels, products, targets
from dact_jax.geometry.coverage.targets import Targets
from dact_jax.geometry.on_host import workers

_TILE, _STRIP = 2048, 512  # points of one side of a tile, and of a product
SUMMED = _TILE  # numbers that sums add up in the dtype of products


def gains(
    state: Targets,
    at: np.ndarray | None,
    coverages: Sequence[np.ndarray | None],
    mode: str,
    *,
    side: int,
) -> np.ndarray:
    """float64[S, m], gains of points among themselves; each product serves two of them.

    Args:
      state: the points.
      at: int64[m], numbers of the points; None: all M.
      coverages: S of dtype[m], of these points; None: 0.
      mode: "float32" or "float64", the dtype of products and coverages.
      side: 1 for upper bounds, -1 for lower bounds, but for the rounding of sums.
    """
    num = state.num if at is None else len(at)
    total = np.zeros((len(coverages), num))
    parts = list(products.parts(num, _TILE))
    pairs = ((i, j) for number, i in enumerate(parts) for j in parts[number:])

    def add(pair: tuple[slice, slice]) -> tuple[slice, slice, np.ndarray, np.ndarray]:
        i, j = pair
        return i, j, *_tile(state, at, i, j, coverages, mode, side)

    for i, j, to_i, to_j in workers.each(add, pairs):
        total[:, j] += to_j
        if i != j:
            total[:, i] += to_i
    return total


def _tile(
    state: Targets,
    at: np.ndarray | None,
    i: slice,
    j: slice,
    coverages: Sequence[np.ndarray | None],
    mode: str,
    side: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(float64[S, i], float64[S, j]): gains of i from j, and of j from i."""
    at_i, at_j = (i, j) if at is None else (at[i], at[j])
    z, z_term = products.second(state, at_j, mode, side=side)
    y = kernels.placed(state.kernel, targets.read(state, at_i), np.dtype(mode))
    y_term = products.term(state, at_i, mode, side)[:, None]
    weight_i, weight_j = (state.weight[a].astype(mode) for a in (at_i, at_j))
    to_i, to_j = (np.zeros((len(coverages), len(a))) for a in (weight_i, weight_j))
    for s in products.parts(len(y), _STRIP):
        k = products.value(state, y[s] @ z.T, y_term[s], z_term)
        room = np.empty_like(k)
        for number, coverage in enumerate(coverages):
            more = k
            if coverage is not None:
                more = np.subtract(k, coverage[i][s, None], out=room)
                np.maximum(more, 0, out=more)
            to_j[number] += weight_i[s] @ more
            if i == j:
                continue
            if coverage is not None:
                more = np.subtract(k, coverage[j], out=room)
                np.maximum(more, 0, out=more)
            to_i[number, s] = more @ weight_j
    return to_i, to_j
