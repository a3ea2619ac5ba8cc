"""Two pools as one: the rows of the first, then those of the second."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax.types import Images


class Joined:
    """Images of two pools by rows, read where they lie."""

    def __init__(self, first: Images, second: Images) -> None:
        self._first, self._second = first, second
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


def join(first: Images, second: Images) -> Images:
    """[N1 + N2, H, W, C]: on the device where both are, which doubles what they take.

    Args:
      first: [N1, H, W, C].
      second: [N2, H, W, C], of the same dtype.
    """
    if isinstance(first, jax.Array) and isinstance(second, jax.Array):
        return jnp.concatenate([first, second])
    return Joined(first, second)
