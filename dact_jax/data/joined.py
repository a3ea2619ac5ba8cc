"""Pools by rows: those that an index means, and two pools concatenated."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax.types import Images


def rows_of(index: Any, count: int) -> np.ndarray:
    """The rows of a pool of `count` that an index means: int64[n], or int64[] for one.

    Args:
      index: int, int[n] (negative ones count from the end), bool[count] or a slice.

    Raises:
      IndexError: a row is not in the pool.
    """
    if isinstance(index, slice):
        return np.arange(*index.indices(count))
    rows = np.asarray(index)
    if rows.dtype == bool:
        if rows.shape != (count,):
            raise IndexError(f"a mask of {rows.shape} cannot choose from {count} rows")
        return np.flatnonzero(rows)
    if not rows.size:
        return np.zeros(rows.shape, np.int64)
    if not np.issubdtype(rows.dtype, np.integer):
        raise IndexError(f"rows must be integers, not {rows.dtype}")
    rows = rows.astype(np.int64)
    if rows.min() < -count or rows.max() >= count:
        raise IndexError(f"row {rows.max()} is not one of {count}")
    return np.where(rows < 0, rows + count, rows)


class Joined:
    """Images of two pools; indexing reads only the requested rows of each."""

    def __init__(self, first: Images, second: Images) -> None:
        self._first, self._second = _on_host(first), _on_host(second)
        self.dtype = np.dtype(first.dtype)
        self.shape = (len(first) + len(second), *first.shape[1:])

    def __len__(self) -> int:
        """Number of images in both pools."""
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """The images in the given rows, int[n], as an array [n, H, W, C]."""
        rows = rows_of(index, len(self))
        in_first = rows < len(self._first)
        images = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
        images[in_first] = np.asarray(self._first[rows[in_first]])
        images[~in_first] = np.asarray(self._second[rows[~in_first] - len(self._first)])
        return images


def join(first: Images, second: Images, limit_bytes: int) -> Images:
    """Concatenates two pools.

    Args:
      first: [N1, H, W, C].
      second: [N2, H, W, C], of the same dtype.
      limit_bytes: largest size of a copy on the device.

    Returns:
      [N1 + N2, H, W, C]: a copy on the device if both pools are there and the copy is
      within the limit, else a `Joined`.
    """
    on_device = [pool for pool in (first, second) if isinstance(pool, jax.Array)]
    if len(on_device) == 2 and sum(pool.nbytes for pool in on_device) <= limit_bytes:
        return jnp.concatenate(on_device)
    return Joined(first, second)


def _on_host(images: Images) -> Images:
    """Copies a pool to the host: on the device each number of rows would compile."""
    return np.asarray(images) if isinstance(images, jax.Array) else images
