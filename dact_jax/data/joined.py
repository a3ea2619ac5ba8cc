"""Two pools as one: the rows of the first, then those of the second."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax.types import Images


class Joined:
    """Images of two pools by rows, read where they lie."""

    def __init__(self, first: Images, second: Images) -> None:
        self._first, self._second = _on_host(first), _on_host(second)
        self.dtype = np.dtype(first.dtype)
        self.shape = (len(first) + len(second), *first.shape[1:])

    def __len__(self) -> int:
        """How many there are in both."""
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """int[n] rows -> [n, H, W, C]."""
        rows = np.arange(len(self))[index]
        ours = rows < len(self._first)
        found = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
        found[ours] = np.asarray(self._first[rows[ours]])
        found[~ours] = np.asarray(self._second[rows[~ours] - len(self._first)])
        return found


def join(first: Images, second: Images, limit_bytes: int) -> Images:
    """[N1 + N2, H, W, C]: a copy on the device, where both lie there and it fits.

    Args:
      first: [N1, H, W, C].
      second: [N2, H, W, C], of the same dtype.
      limit_bytes: the most that the copy may take.
    """
    parts = [part for part in (first, second) if isinstance(part, jax.Array)]
    if len(parts) == 2 and sum(part.nbytes for part in parts) <= limit_bytes:
        return jnp.concatenate(parts)
    return Joined(first, second)


def _on_host(images: Images) -> Images:
    """On the device, each number of rows asked for would be a program to compile."""
    return np.asarray(images) if isinstance(images, jax.Array) else images
