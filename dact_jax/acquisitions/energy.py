"""EADA (Xie et al., AAAI 2022): high free energy first, then the least clear minimum.

With the logits z of a row, the energy of class k is -z_k, and the free energy is
F(x) = -log sum_k exp(z_k). Where the network is trained to give the source a low free
energy, rows of high F are unlike the source. Of the rows of highest F, those are picked
whose two lowest energies differ least: -z_(2) + z_(1), with z_(1) the largest logit.
"""

import math

import numpy as np

from dact_jax import errors, kinds
from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Evidence, Key, Picked

SCORE = (
    "by how much the lowest energy is below the second lowest, among the images of "
    "high free energy: the smallest is first"
)
MIN_CLASSES = 2  # the second lowest energy

OPTIONS = {
    "share": kinds.Option(
        kinds.real(0.0, 1.0), "share of the free rows that is kept, by free energy"
    )
}


def make(*, share: float = 0.5) -> Acquire:
    """The rows of smallest margin among those of high free energy.

    Ties in either step go to the lowest row. Energies are those at temperature 1, as in
    the paper, and computed in float64.

    Args:
      share: of the free rows, that of highest free energy which is kept, rounded up; at
        least as many rows as the budget are. The paper keeps half; 1 keeps all.
    """

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        del key
        free = _ranking.free_rows(taken, budget)
        logits = _ranking.class_logits(evidence, taken.size)
        if logits.shape[1] < MIN_CLASSES:
            raise errors.InputError(
                f"acquisition 'energy' needs at least {MIN_CLASSES} classes."
            )
        logits = np.asarray(logits, np.float64)[free]
        kept = max(math.ceil(share * free.size), budget)
        order = np.argsort(-free_energy(logits), kind="stable")[:kept]
        order.sort()  # so that ties of the margin go to the lowest row
        margin = margins(logits[order])
        first = np.argsort(margin, kind="stable")[:budget]
        return Picked(free[order[first]], margin[first].astype(np.float32))

    return acquire


def free_energy(logits: np.ndarray) -> np.ndarray:
    """float64[N], -log sum_k exp(z_k).

    Args:
      logits: float64[N, K].
    """
    largest = logits.max(1)
    return -largest - np.log(np.exp(logits - largest[:, None]).sum(1))


def margins(logits: np.ndarray) -> np.ndarray:
    """float64[N], the second lowest energy less the lowest.

    Args:
      logits: float64[N, K], K >= 2.
    """
    two = np.partition(logits, -2, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]
