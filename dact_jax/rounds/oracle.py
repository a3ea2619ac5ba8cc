"""Where bought labels come from."""

from collections.abc import Callable

import numpy as np

from dact_jax.types import UNLABELED

Oracle = Callable[[np.ndarray], np.ndarray]  # target rows int32[n] -> labels int32[n]


def from_dataset(label: np.ndarray) -> Oracle:
    """Reveals the labels that the dataset holds: the oracle of benchmarks.

    Args:
      label: int32[N_t]; UNLABELED rows cannot be asked for (see `Lab.buyable`).
    """

    def oracle(row: np.ndarray) -> np.ndarray:
        answers = label[row]
        unknown = row[answers == UNLABELED]
        if unknown.size:
            raise ValueError(f"target row {unknown[0]} has no label to reveal")
        return answers

    return oracle
