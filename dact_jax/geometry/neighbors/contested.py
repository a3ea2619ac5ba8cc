"""Rows with so many rows about as near that a few candidates do not hold them all.

Such are rows of few different numbers, where hundreds of distances are equal. Products
of float64 leave as many candidates as there are; differences decide among them.
"""

import numpy as np

from dact_jax.geometry import distances
from dact_jax.geometry.neighbors import ordering, pools
from dact_jax.geometry.neighbors.ordering import Nearest
from dact_jax.geometry.neighbors.pools import Pool
from dact_jax.geometry.on_host import workers

_ROWS = 64  # compared with all rows at once
_WIDER = 1e-9  # share of a squared distance by which candidates may be farther


def by_products(pool: Pool, rows: np.ndarray, wanted: int, floor: float) -> Nearest:
    """The `wanted` nearest of some rows int[n]; memory: 2^10 N bytes a thread."""
    if not len(rows):
        return ordering.joined([], wanted)
    step = max(1, pool.num // 512)
    origin = np.median(pool.read(slice(0, pool.num, step)), axis=0)
    error = distances.relative_error(pool.width, "float64")

    def of_row(row: int, squared: np.ndarray, slack: np.ndarray) -> Nearest:
        upper = np.partition(squared + slack, wanted - 1)[wanted - 1]
        limit = upper * (1 + _WIDER) + 2 * floor
        near = np.flatnonzero(squared - slack <= limit)[None]
        at = np.array([row])
        found = ordering.ordered(near, pools.squared(pool, at, near), floor)
        if ordering.reach(found, wanted, floor)[0] < limit:
            return ordering.first(found, wanted)
        return by_differences(pool, at, wanted, floor)

    def compare(part: np.ndarray) -> Nearest:
        x = pool.read(part) - origin
        norm = np.einsum("nf,nf->n", x, x)[:, None]
        squared, slack = (np.empty((len(part), pool.num)) for _ in range(2))
        for at in pools.parts(pool.num, pool.width):
            others = pool.read(at) - origin
            both = norm + np.einsum("nf,nf->n", others, others)
            squared[:, at] = both - 2 * x @ others.T
            slack[:, at] = error * both
        rest = zip(part.tolist(), squared, slack, strict=True)
        return ordering.joined([of_row(*row) for row in rest], wanted)

    return ordering.joined(list(workers.each(compare, _blocks(rows))), wanted)


def by_differences(pool: Pool, rows: np.ndarray, wanted: int, floor: float) -> Nearest:
    """The `wanted` nearest of some rows int[n], each compared with all."""
    column = np.arange(pool.num)

    def compare(part: np.ndarray) -> Nearest:
        squared = pools.squared_to_all(pool, part, column)
        columns = np.broadcast_to(column, squared.shape)
        return ordering.first(ordering.ordered(columns, squared, floor), wanted)

    if workers.is_worker():  # which must not wait for another
        return ordering.joined([compare(part) for part in _blocks(rows)], wanted)
    return ordering.joined(list(workers.each(compare, _blocks(rows))), wanted)


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[i : i + _ROWS] for i in range(0, len(rows), _ROWS)]
