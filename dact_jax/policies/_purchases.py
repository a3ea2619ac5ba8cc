"""How target labels are bought: the first ones, and those of each purchase."""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import numpy as np

from dact_jax import keys
from dact_jax.policies import _pool_sizes
from dact_jax.types import (
    START,
    TARGET,
    Acquisitions,
    Evidence,
    Key,
    Lab,
    Picked,
    Pools,
    PyTree,
    Selection,
    Variables,
)

Start = Literal["random", "acquisition"]  # who chooses the first labels


class Purchases(NamedTuple):
    """How S_AcT buys labels; other policies buy by the same functions."""

    init: Callable[[Lab, int, int, Key], Selection]  # T_l, or what of it is given
    # Buys the first labels by the acquisition; None: `init` has bought them.
    first: Callable[[Lab, Variables, Pools, PyTree, Key], Selection] | None
    next: Callable[[Lab, Variables, Pools, PyTree, Key], Selection]  # `per_round` more


def buying(
    acquire: Acquisitions,
    labelled: np.ndarray,
    budget: _pool_sizes.Budget,
    start: Start = "random",
) -> Purchases:
    """The purchases of S_AcT.

    Args:
      acquire: `target` ranks the target pool.
      labelled: bool[N_t], target samples labelled from the start at no cost.
      budget: `init` checks it against the pool.
      start: who chooses the first labels; without any it makes no difference.
    """
    by_acquisition = start == "acquisition" and budget.initial > 0

    def init(lab: Lab, num_source: int, num_target: int, key: Key) -> Selection:
        free = np.flatnonzero(lab.buyable & ~labelled)
        _pool_sizes.check_target(
            budget,
            num_target=num_target,
            num_free=free.size,
            num_given=int(labelled.sum()),
        )
        count = 0 if by_acquisition else budget.initial
        order = np.asarray(jax.random.permutation(keys.key(key, "initial"), free.size))
        first = free[order[:count]]
        row = np.concatenate([np.flatnonzero(labelled), first]).astype(np.int32)
        target = np.zeros(num_target, bool)
        target[row] = True
        pools = Pools(np.ones(num_source, bool), target)
        return Selection(
            pools, (), {"target": Picked(row, np.zeros(row.size, np.float32))}
        )

    def buy(
        most: int,
        sweep: Callable[[], Evidence],
        lab: Lab,
        pools: Pools,
        memory: PyTree,
        key: Key,
    ) -> Selection:
        # A row that is neither labelled nor for sale can be no center and no pick.
        offered = np.flatnonzero(lab.buyable | pools.target)
        evidence = take(sweep(), offered)
        taken = pools.target[offered]
        count = min(most, int((~taken).sum()), _most(lab, pools))
        picked = acquire.target(evidence, taken, count, keys.key(key, "acquire"))
        row = offered[picked.row].astype(np.int32)
        target = pools.target.copy()
        target[row] = True
        return Selection(
            pools._replace(target=target),
            memory,
            {"target": picked._replace(row=row)},
            columns={"line": "buy target labels", "labels_target": int(target.sum())},
        )

    def first(
        lab: Lab, variables: Variables, pools: Pools, memory: PyTree, key: Key
    ) -> Selection:
        nothing = Evidence(np.zeros((len(pools.target), 0), np.float32), {}, None)

        def sweep() -> Evidence:
            return nothing if acquire.target_blind else lab.sweep(variables, TARGET)

        bought = buy(budget.initial, sweep, lab, pools, memory, key)
        picked = bought.picked["target"]._replace(origin=START)
        return bought._replace(picked={"target": picked})

    def following(
        lab: Lab, variables: Variables, pools: Pools, memory: PyTree, key: Key
    ) -> Selection:
        # The labels that a person is suggested come of a sweep, whatever ranks.
        sweep = functools.partial(lab.sweep, variables, TARGET)
        return buy(budget.per_round, sweep, lab, pools, memory, key)

    return Purchases(init, first if by_acquisition else None, following)


def _most(lab: Lab, pools: Pools) -> int:
    """The most labels that leave an image to adapt to.

    Fewer than the budget, which `check_target` checked, only where images were skipped.
    """
    left = ~pools.target
    if lab.skipped is not None:
        left = left & ~lab.skipped
    return max(int(left.sum()) - 1, 0)


def take(evidence: Evidence, rows: np.ndarray) -> Evidence:
    """The evidence restricted to the given rows, int[n]."""
    return jax.tree.map(lambda values: values[rows], evidence)
