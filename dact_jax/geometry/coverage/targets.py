"""The distinct points of a pool, with the weights of their copies added up.

Copies of a point are covered together, and only the lowest of them is worth a pick: so
a pool with many copies costs what its distinct points cost.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from dact_jax import devices, vectors
from dact_jax.geometry import points
from dact_jax.geometry.coverage import kernels
from dact_jax.geometry.coverage.kernels import Kernel
from dact_jax.geometry.on_host import workers
from dact_jax.geometry.points import Points

_ROWS = 4096  # read at once
_WHOLE = 2**24  # below which float32 holds every whole number
_SEED = 20_240_901  # of the factors of the hash; any other serves as well
Result = TypeVar("Result")


class Targets(NamedTuple):
    """M distinct points, numbered by their lowest rows."""

    pool: Points
    kernel: Kernel
    row: np.ndarray  # int64[M], the lowest row of each in the pool, ascending
    number: np.ndarray  # int64[N], of the point of each row
    weight: np.ndarray  # float64[M], of all its copies; the largest of a row is 1
    size: np.ndarray  # float64[M], of `kernels.size`
    whole: bool  # gains are whole numbers, whose sums float32 does not round

    @property
    def num(self) -> int:
        """M."""
        return len(self.row)

    @property
    def on_host(self) -> bool:
        """Whether NumPy computes; else the devices do."""
        return self.pool.read_on_host is not None


def make(pool: Points, kernel: Kernel, weight: np.ndarray) -> Targets:
    """The distinct points of a pool.

    Args:
      pool: N points.
      kernel: of the selection.
      weight: float64[N], finite, not negative.

    Raises:
      InputError: a point is not finite, or too long.
    """
    digest, size = np.empty(pool.num, np.uint64), np.empty(pool.num)
    rng = np.random.default_rng(_SEED)
    factor = rng.integers(2**64, size=pool.width, dtype=np.uint64) | np.uint64(1)

    def survey(rows: slice) -> tuple[slice, np.ndarray, np.ndarray, np.ndarray]:
        x = read_rows(pool, rows)
        is_valid = vectors.valid(x)
        with np.errstate(over="ignore", invalid="ignore"):  # told by `is_valid`
            return rows, is_valid, _digest(x, factor), kernels.size(kernel, x)

    for rows, is_valid, digests, sizes in each(pool, survey, pool.num, _ROWS):
        vectors.check_valid(np.arange(rows.start, rows.stop), is_valid)
        digest[rows], size[rows] = digests, sizes
    row, number = _distinct(pool, devices.from_process_0(digest))
    total = np.bincount(number, weight, len(row)) / (weight.max() or 1)
    whole = kernel.name == "top_hat" and np.array_equal(total, np.round(total))
    whole = whole and total.sum() < _WHOLE
    size = devices.from_process_0(size[row])
    return Targets(pool, kernel, row, number, total, size, bool(whole))


def read_rows(pool: Points, rows: slice | np.ndarray) -> np.ndarray:
    """float[n, F], rows of the pool on the host; perhaps a view."""
    if pool.read_on_host is not None:
        return pool.read_on_host(rows)
    if isinstance(rows, slice):
        rows = np.arange(rows.start, rows.stop)
    return points.read(pool, rows)


def read(targets: Targets, at: slice | np.ndarray) -> np.ndarray:
    """float[n, F], points by their numbers, on the host; perhaps a view."""
    if targets.num < targets.pool.num or not isinstance(at, slice):
        at = targets.row[at]
    return read_rows(targets.pool, at)


def each(
    pool: Points, compute: Callable[[slice], Result], num: int, size: int
) -> Iterator[Result]:
    """Yields compute(rows) of consecutive rows; of a pool on the host, in threads.

    Args:
      pool: where the rows are.
      compute: called with slices.
      num: rows in all.
      size: rows of a slice, at most.
    """
    parts = (slice(at, min(at + size, num)) for at in range(0, num, size))
    on_host = pool.read_on_host is not None
    return workers.each(compute, parts) if on_host else map(compute, parts)


def _digest(x: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """uint64[n], equal for equal rows, and almost never for others."""
    bits = x + x.dtype.type(0)  # -0 is 0
    bits = bits.view(np.uint32 if x.dtype.itemsize == 4 else np.uint64)
    return (bits * factor).sum(1, dtype=np.uint64)


def _distinct(pool: Points, digest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row int64[M], number int64[N]), as of `Targets`."""
    first, number = np.unique(digest, return_index=True, return_inverse=True)[1:]
    lowest = first[number]  # of each row, the lowest row with its digest
    copies = np.flatnonzero(lowest != np.arange(len(lowest)))
    for at in range(0, len(copies), _ROWS):  # a digest alone is no proof
        part = copies[at : at + _ROWS]
        same = read_rows(pool, part) == read_rows(pool, lowest[part])
        lowest[part] = np.where(same.all(1), lowest[part], part)
    row = np.flatnonzero(lowest == np.arange(len(lowest)))
    return row, np.searchsorted(row, lowest)
