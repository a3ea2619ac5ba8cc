"""S_AcT (Liu et al., Algorithm 1): buy target labels round by round.

The first labels are drawn at random, as in the paper, or, with start="acquisition",
chosen like all others: by the network that round 0 begins with, which `pretrain.steps`
trains on the source alone. No stage of its own trains it: that of pre-training is kept,
shared between runs, and what round 0 goes on from.
"""

from typing import get_args

import numpy as np

from dact_jax import kinds
from dact_jax.policies import _pool_sizes, _purchases
from dact_jax.policies._purchases import Start
from dact_jax.types import (
    Acquisitions,
    Key,
    Lab,
    Policy,
    Pools,
    PyTree,
    Selection,
    Variables,
)

OPTIONS = {
    "initial": kinds.Option(kinds.whole(), "labels bought before round 0"),
    "start": kinds.Option(kinds.choice(*get_args(Start)), "who chooses those"),
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
    start: Start = "random",
    per_round: int = 10,
    purchases: int = 4,
    final_training: bool = True,
) -> Policy:
    """First labels, then `purchases` times: train, and buy `per_round` more.

    Table 6 of the paper: |T_l| = initial + purchases * per_round.

    Args:
      acquire: `target` ranks the pool; k_center gives S_AcT, random gives S_RT.
      labelled: bool[N_t], target samples labelled from the start at no cost.
      initial: size of the first set T_l.
      start: who chooses it: "random", or "acquisition", by the network that round 0
        begins with.
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
    purchase = _purchases.buying(acquire, labelled, budget, start)
    ranks_first = purchase.first is not None

    def init(lab: Lab, num_source: int, num_target: int, key: Key) -> Selection:
        selection = purchase.init(lab, num_source, num_target, key)
        if ranks_first:  # the memory: whether the first labels are to be bought
            selection = selection._replace(memory=1, again=True)
        return selection

    def select(
        lab: Lab, variables: Variables, pools: Pools, memory: PyTree, key: Key
    ) -> Selection:
        if purchase.first is not None and memory:
            return purchase.first(lab, variables, pools, 0, key)
        return purchase.next(lab, variables, pools, memory, key)

    num_rounds = max(1, purchases + final_training)
    return Policy(init, select, num_rounds, purchases, ranks_first)


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
