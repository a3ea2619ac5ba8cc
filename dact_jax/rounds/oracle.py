"""Where bought labels come from."""

from collections.abc import Callable

import numpy as np

from dact_jax.types import UNLABELED

Oracle = Callable[
    [np.ndarray], np.ndarray
]  # int32[n] rows of the target pool -> labels


def from_dataset(label: np.ndarray) -> Oracle:
    """Reveals the labels that the data set holds: the benchmark's oracle.

    Args:
      label: int32[N_t]; UNLABELED rows cannot be asked for (see Lab.buyable).
    """

    def oracle(row: np.ndarray) -> np.ndarray:
        revealed = label[row]
        if (revealed == UNLABELED).any():
            raise ValueError("a row without label was asked for")
        return revealed

    return oracle
