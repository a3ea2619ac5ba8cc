"""No selection: the labeled target set is given (3-shot MME, UDA without labels)."""

import numpy as np

from dact_jax.types import (
    Acquisitions,
    Key,
    Lab,
    Picked,
    Policy,
    Pools,
    PyTree,
    Selection,
    Variables,
)

BUYS = False  # it never calls an acquisition


def make(acquire: Acquisitions, labelled: np.ndarray) -> Policy:
    """One round of training on the whole source and a given labelled target set.

    Args:
      labelled: bool[N_t], T_l.
    """
    del acquire

    def init(lab: Lab, num_source: int, num_target: int, key: Key) -> Selection:
        del lab, num_target, key
        row = np.flatnonzero(labelled).astype(np.int32)
        pools = Pools(np.ones(num_source, bool), labelled)
        picked = {"target": Picked(row, np.zeros(row.size, np.float32))}
        return Selection(pools, (), picked)

    def select(
        lab: Lab, variables: Variables, pools: Pools, memory: PyTree, key: Key
    ) -> Selection:
        del lab, variables, key
        return Selection(pools, memory, {})

    return Policy(init, select, num_rounds=1, num_selections=0)
