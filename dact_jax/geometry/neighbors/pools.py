"""Rows of a pool as float64, which decide: as given, or divided by their length.

Rows that are equal are found first. Products cannot tell them apart, and each of many
copies would be compared with all the others.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

import jax
import numpy as np

from dact_jax import vectors
from dact_jax.types import Array

Metric = Literal["euclidean", "cosine"]
_AT_ONCE = 2**20  # numbers of a temporary array, at most
_Rows = TypeVar("_Rows", np.ndarray, jax.Array)


class Pool(NamedTuple):
    """N points with F features, on the host."""

    num: int  # N
    width: int  # F
    # int[n], any rows, or a slice of them -> float64[n, F]
    read: Callable[[np.ndarray | slice], np.ndarray]


class Distinct(NamedTuple):
    """Which of N rows are equal; U of them differ."""

    first: np.ndarray  # int64[U], ascending: the lowest row of each kind
    kind: np.ndarray  # int64[N], the kind of each row, into `first`


def make(features: Array, metric: Metric) -> Pool:
    """The points of a pool.

    Args:
      features: [N, F] real numbers, of which rows are read when they are needed.
      metric: "cosine": each row is divided by its length.

    Raises:
      InputError: a row is not finite, or too long.
    """
    host = np.asarray(features)
    form = vectors.precise_form(host)._replace(dtype=vectors.FLOAT64.dtype)
    if metric == "cosine":  # directions are seen from 0, not from a row in the middle
        form = vectors.FLOAT64
    for rows in parts(*host.shape):
        is_valid = vectors.valid(vectors.cast(host[rows], form))
        vectors.check_valid(rows.start + np.arange(len(is_valid)), is_valid)

    def read(rows: np.ndarray | slice) -> np.ndarray:
        # No negative zero, which equals 0 in other bits.
        points = vectors.cast(host[rows], form) + 0.0
        return normalized(points) if metric == "cosine" else points

    num, width = host.shape
    return Pool(num, width, read)


def normalized(points: _Rows) -> _Rows:
    """float[n, F], rows divided by their Euclidean length; rows of zeros stay so."""
    # By the largest number first: squares of small ones may vanish.
    largest = abs(points).max(1, keepdims=True)
    points = points / (largest + (largest == 0).astype(points.dtype))
    squared = (points * points).sum(1, keepdims=True)
    return points / (squared + (squared == 0).astype(points.dtype)) ** 0.5


def distinct(pool: Pool) -> Distinct:
    """The rows that differ from each other, in the bits of their numbers."""
    factor = np.random.default_rng(0).integers(
        1, 2**64 - 1, pool.width, np.uint64, endpoint=True
    )
    mark = np.empty(pool.num, np.uint64)
    for rows in parts(pool.num, pool.width):
        mark[rows] = np.einsum("nf,f->n", pool.read(rows).view(np.uint64), factor)
    _, first, kind = np.unique(mark, return_index=True, return_inverse=True)
    lowest = first[kind]
    # Two rows with one mark may differ, by a rare chance: then each is of its own kind.
    repeated = np.flatnonzero(lowest != np.arange(pool.num))
    for part in parts(len(repeated), pool.width):
        row = repeated[part]
        differs = (pool.read(row) != pool.read(lowest[row])).any(1)
        lowest[row[differs]] = row[differs]
    first, kind = np.unique(lowest, return_inverse=True)
    return Distinct(first, kind)


def squared(pool: Pool, row: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float64[n, m], squared distances of rows int[n] to others int[n, m] of them."""
    found = np.empty(other.shape)
    for part in parts(len(row), pool.width * other.shape[1]):
        points = pool.read(other[part].reshape(-1))
        gap = points.reshape(*other[part].shape, -1) - pool.read(row[part])[:, None]
        found[part] = np.einsum("nmf,nmf->nm", gap, gap)
    return found


def squared_to_all(pool: Pool, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """float64[n, m], squared distances of rows int[n] to rows int[m]."""
    points, found = pool.read(row), np.empty((len(row), len(column)))
    for part in parts(len(column), pool.width):
        others = pool.read(column[part])
        for number, point in enumerate(points):
            gap = others - point
            found[number, part] = np.einsum("nf,nf->n", gap, gap)
    return found


def parts(num: int, width: int) -> list[slice]:
    """Slices of `num` rows of `width` numbers each, short enough for memory."""
    size = max(1, _AT_ONCE // width)
    return [slice(i, min(i + size, num)) for i in range(0, num, size)]
