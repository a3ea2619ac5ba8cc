"""S_AcT (Liu et al., Algorithm 1): buy target labels round by round."""

from collections.abc import Callable

import jax
import numpy as np

from dact_jax import keys, kinds
from dact_jax.policies import _pool_sizes
from dact_jax.types import (
    TARGET,
    Acquire,
    Acquisitions,
    Evidence,
    Key,
    Lab,
    Picked,
    Policy,
    Pools,
    PyTree,
    Selection,
    Variables,
)

OPTIONS = {
    "initial": kinds.Option(kinds.whole(), "first labels, bought at random"),
    "per_round": kinds.Option(kinds.whole(), "labels of each purchase"),
    "purchases": kinds.Option(kinds.whole(0, 10_000), "number of purchases"),
    "final_training": kinds.Option(
        kinds.flag(), "train once more after the last purchase"
    ),
}


def make(
    acquire: Acquisitions,
    labelled: np.ndarray,
    *,
    initial: int = 10,
    per_round: int = 10,
    purchases: int = 4,
    final_training: bool = True,
) -> Policy:
    """Random first labels, then `purchases` times: train, and buy `per_round` more.

    Table 6 of the paper: |T_l| = initial + purchases * per_round.

    Args:
      acquire: `target` ranks the pool; k_center gives S_AcT, random gives S_RT.
      labelled: bool[N_t], target samples labelled from the start at no cost.
      initial: size of the random first set T_l.
      per_round: B_t, labels bought after each round of training.
      purchases: number of times that labels are bought.
      final_training: train once more after the last purchase, so that the last
        accuracy uses all labels. False follows the paper's listing literally: it
        returns the network that was trained before the last purchase.

    Raises:
      InputError: from `init`, the budget exceeds the labels for sale, or leaves no
        image unlabelled.
    """
    budget = _pool_sizes.Budget("policies.single", initial, per_round, purchases)
    init, select = buying(acquire.target, labelled, budget)
    num_rounds = max(1, purchases + final_training)
    return Policy(init, select, num_rounds, num_selections=purchases)


def check_pools(
    *,
    num_target: int,
    num_free: int,
    num_given: int,
    initial: int,
    per_round: int,
    purchases: int,
) -> None:
    """Raises InputError if the target pool is too small for the budget."""
    budget = _pool_sizes.Budget("policies.single", initial, per_round, purchases)
    _pool_sizes.check_target(
        budget, num_target=num_target, num_free=num_free, num_given=num_given
    )


def buying(
    acquire: Acquire, labelled: np.ndarray, budget: _pool_sizes.Budget
) -> tuple[
    Callable[[Lab, int, int, Key], Selection],
    Callable[[Lab, Variables, Pools, PyTree, Key], Selection],
]:
    """The functions (init, select) of S_AcT, which other policies buy labels with.

    Args:
      acquire: ranks the target pool.
      labelled: bool[N_t], target samples labelled from the start at no cost.
      budget: `init` checks it against the pool.
    """
    _, initial, per_round, _ = budget

    def init(lab: Lab, num_source: int, num_target: int, key: Key) -> Selection:
        free = np.flatnonzero(lab.buyable & ~labelled)
        _pool_sizes.check_target(
            budget,
            num_target=num_target,
            num_free=free.size,
            num_given=int(labelled.sum()),
        )
        order = np.asarray(jax.random.permutation(keys.key(key, "initial"), free.size))
        first = free[order[:initial]]
        row = np.concatenate([np.flatnonzero(labelled), first]).astype(np.int32)
        target = np.zeros(num_target, bool)
        target[row] = True
        pools = Pools(np.ones(num_source, bool), target)
        return Selection(
            pools, (), {"target": Picked(row, np.zeros(row.size, np.float32))}
        )

    def select(
        lab: Lab, variables: Variables, pools: Pools, memory: PyTree, key: Key
    ) -> Selection:
        # A row that is neither labelled nor for sale can be no center and no pick.
        offered = np.flatnonzero(lab.buyable | pools.target)
        evidence = take(lab.sweep(variables, TARGET), offered)
        taken = pools.target[offered]
        count = min(per_round, int((~taken).sum()), _most(lab, pools))
        picked = acquire(evidence, taken, count, keys.key(key, "acquire"))
        row = offered[picked.row].astype(np.int32)
        target = pools.target.copy()
        target[row] = True
        return Selection(
            pools._replace(target=target),
            memory,
            {"target": picked._replace(row=row)},
            columns={"line": "buy target labels", "labels_target": int(target.sum())},
        )

    return init, select


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
    return Evidence(
        evidence.embedding[rows],
        {name: output[rows] for name, output in evidence.outputs.items()},
        None if evidence.label is None else evidence.label[rows],
    )
