"""Where bought labels come from."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dact_jax.types import UNLABELED


class Asked(NamedTuple):
    """What an oracle is asked in a turn."""

    round: int  # the round that will train on the labels
    row: np.ndarray  # int32[n], target rows in pick order
    score: np.ndarray  # float32[n], what the acquisition ranked by
    label: np.ndarray  # int32[N_t], labels bought so far, UNLABELED or SKIPPED
    logits: np.ndarray | None  # float32[N_t, K], of the network that ranked, if any


# Labels int32[N_t] afterwards: those of the asked rows, and what was corrected. A row
# that got no label is UNLABELED, and may be asked again, or SKIPPED.
Oracle = Callable[[Asked], np.ndarray]


def from_dataset(label: np.ndarray) -> Oracle:
    """Reveals the labels that the dataset holds: the oracle of benchmarks.

    Args:
      label: int32[N_t]; UNLABELED rows cannot be asked for (see `Lab.buyable`).
    """

    def oracle(asked: Asked) -> np.ndarray:
        answers = label[asked.row]
        unknown = asked.row[answers == UNLABELED]
        if unknown.size:
            raise ValueError(f"target row {unknown[0]} has no label to reveal")
        after = asked.label.copy()
        after[asked.row] = answers
        return after

    return oracle
