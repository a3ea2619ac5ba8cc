"""D_AcT (Liu et al., Algorithm 2): choose source samples and buy target labels.

A loss predictor (P_t, P_l) is trained on U, the samples chosen so far, and ranks the
source by predicted loss. The best B_s samples join N. The validation accuracies of two
trial networks, acc_s trained on N and acc_t trained on the labelled target T_l, decide
what joins U: N, if acc_s > acc_t; otherwise T_l, after S_AcT with source N has bought
B_t more target labels.

Where the listing is silent: the B_s samples come from S without N; both trial networks
start from the same weights (option `trial`) and take the same number of steps; a tie,
acc_s = acc_t, favors the target; after the last iteration the rest of T_l's budget is
bought, and one more training ends the run.
"""

from typing import Any, get_args

import numpy as np

from dact_jax import keys, kinds
from dact_jax.policies import _pool_sizes, _purchases, single
from dact_jax.policies._dual_state import Line, Memory, Plan, Trial
from dact_jax.policies._purchases import Start
from dact_jax.types import (
    Acquisitions,
    Evidence,
    Key,
    Lab,
    LossPredictor,
    Policy,
    Pools,
    Selection,
    Variables,
)

LOSS_PREDICTOR = "loss_prediction"  # the method that trains (P_t, P_l)

_NAME = "policies.dual"
_BUDGET = ("initial", "start", "per_round", "purchases")  # options of `single` as well

OPTIONS = {
    **{name: option for name, option in single.OPTIONS.items() if name in _BUDGET},
    "source_per_round": kinds.Option(
        kinds.whole(), "source samples chosen at once; 0: half of the source in all"
    ),
    "source_rounds": kinds.Option(
        kinds.whole(1, 10_000), "how often source samples are chosen"
    ),
    "trial": kinds.Option(
        kinds.choice(*get_args(Trial)), "where trial networks start from"
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
    source_per_round: int = 0,
    source_rounds: int = 4,
    trial: Trial = "warm",
) -> Policy:
    """Algorithm 2; |N| and |T_l| end at the numbers of Table 6.

    Args:
      acquire: `source` chooses N, predicted_loss for D_AcT and random for R_AcT;
        `target` is the acquisition of S_AcT.
      labelled: bool[N_t], target samples labelled from the start at no cost.
      initial: size of the first set T_l.
      start: who chooses it: "random" or "acquisition", as in `single`.
      per_round: B_t, labels bought in each purchase.
      purchases: number of purchases; |T_l| = initial + purchases * per_round.
      source_per_round: B_s, source samples chosen in each iteration; 0: as many as
        make N half of the source.
      source_rounds: n, number of iterations; |N| = n * B_s.
      trial: where the trial networks start: "warm", from the current weights of
        (P_t, P_l); "scratch", from its initial weights.

    Raises:
      InputError: from `init`, the budget exceeds the target labels for sale or the
        source samples, leaves no target image unlabelled, or includes no initial
        label.
    """
    plan = Plan(acquire, purchases, source_per_round, source_rounds, trial)
    budget = _pool_sizes.Budget(_NAME, initial, per_round, purchases)
    given = int(labelled.sum())
    purchase = _purchases.buying(acquire, labelled, budget, start)

    def init(lab: Lab, num_source: int, num_target: int, key: Key) -> Selection:
        _pool_sizes.check_start(
            _NAME, source_per_round, source_rounds, num_source, initial + given
        )
        first = purchase.init(lab, num_source, num_target, key)
        no_source = np.zeros(num_source, bool)
        pools = first.pools._replace(source=no_source)
        assert lab.loss_predictor is not None
        weights = lab.loss_predictor.initial
        line = Line.TRAIN if purchase.first is None else Line.START
        memory = Memory(line, 0, 0, pools, no_source, weights, 0.0)
        return Selection(pools, memory, first.picked, again=True)

    def select(
        lab: Lab, variables: Variables, pools: Pools, memory: Memory, key: Key
    ) -> Selection:
        assert lab.loss_predictor is not None
        key = keys.key(key, "iteration", memory.iteration)
        if memory.line == Line.START:
            assert purchase.first is not None
            return _started(memory, purchase.first(lab, variables, pools, (), key))
        if memory.line == Line.TRAIN:
            return _train(lab.loss_predictor, pools, memory, key)
        if memory.line == Line.CHOOSE:
            return _choose(plan, lab.loss_predictor, pools, memory, key)
        if memory.line == Line.TRY_SOURCE:
            return _try_source(plan, lab.loss_predictor, pools, memory, key)
        if memory.line == Line.DECIDE:
            return _decide(plan, lab.loss_predictor, pools, memory, key)
        return _bought(plan, memory, purchase.next(lab, variables, pools, (), key))

    ranks_first = purchase.first is not None
    return Policy(init, select, purchases + 1, purchases, ranks_first)


def check_pools(
    *,
    num_source: int,
    num_target: int,
    num_free: int,
    num_given: int,
    initial: int,
    per_round: int,
    purchases: int,
    source_per_round: int,
    source_rounds: int,
) -> None:
    """Raises InputError if a pool is too small for the options."""
    _pool_sizes.check_start(
        _NAME, source_per_round, source_rounds, num_source, initial + num_given
    )
    _pool_sizes.check_target(
        _pool_sizes.Budget(_NAME, initial, per_round, purchases),
        num_target=num_target,
        num_free=num_free,
        num_given=num_given,
    )


def _started(memory: Memory, bought: Selection) -> Selection:
    """The first T_l, chosen by the acquisition, is also the first U."""
    union = memory.union._replace(target=bought.pools.target)
    return bought._replace(
        memory=memory._replace(line=Line.TRAIN, union=union), again=True
    )


def _train(
    predictor: LossPredictor, pools: Pools, memory: Memory, key: Key
) -> Selection:
    """Line 5: train (P_t, P_l) further, on U."""
    fitted = predictor.fit(memory.variables, memory.union, keys.key(key, "train"))
    size = int(memory.union.source.sum() + memory.union.target.sum())
    columns = {"iteration": memory.iteration + 1, "union": size, **fitted.losses}
    memory = memory._replace(line=Line.CHOOSE, variables=fitted.variables)
    return _selection(pools, memory, "train the predictor", **columns)


def _choose(
    plan: Plan, predictor: LossPredictor, pools: Pools, memory: Memory, key: Key
) -> Selection:
    """Lines 6-8: the B_s samples of S without N that rank first join N."""
    acquire = plan.acquire
    if acquire.blind:
        evidence = Evidence(np.zeros((len(pools.source), 0), np.float32), {}, None)
    else:
        evidence = predictor.sweep(memory.variables)
    half = len(pools.source) // (2 * plan.source_rounds)
    budget = plan.source_per_round or half  # B_s
    picked = acquire.source(evidence, pools.source, budget, keys.key(key, "choose"))
    if not acquire.blind:
        picked = picked._replace(origin=f"predictor/{memory.iteration + 1}")
    source = pools.source.copy()
    source[picked.row] = True
    read = memory.read | source | (bool(picked.labels_read) & ~pools.source)
    pools = pools._replace(source=source)
    memory = memory._replace(line=Line.TRY_SOURCE, read=read)
    columns = {"source_labels_read": int(read.sum())}
    selection = _selection(pools, memory, "choose source samples", **columns)
    return selection._replace(picked={"source": picked})


def _try_source(
    plan: Plan, predictor: LossPredictor, pools: Pools, memory: Memory, key: Key
) -> Selection:
    """Lines 9-10: acc_s, of a copy trained on N."""
    only_source = pools._replace(target=np.zeros_like(pools.target))
    accuracy = _trial(plan, predictor, memory, only_source, key)
    memory = memory._replace(line=Line.DECIDE, accuracy=accuracy)
    return _selection(pools, memory, "try the source samples")


def _decide(
    plan: Plan, predictor: LossPredictor, pools: Pools, memory: Memory, key: Key
) -> Selection:
    """Lines 11-15: acc_t, of a copy trained on T_l, and the choice of what joins U."""
    only_target = pools._replace(source=np.zeros_like(pools.source))
    accuracy = _trial(plan, predictor, memory, only_target, key)
    if memory.accuracy > accuracy:
        union = memory.union._replace(source=memory.union.source | pools.source)
        branch, after = "source", _next(plan, memory._replace(union=union))
    elif memory.purchases == plan.purchases:  # T_l stays as it is, and so does U
        branch, after = "spent", _next(plan, memory)
    else:
        branch, after = "target", memory._replace(line=Line.BUY)
    return _selection(
        pools,
        after,
        "try the target labels",
        iteration=memory.iteration + 1,
        accuracy_source=memory.accuracy,
        accuracy_target=accuracy,
        source_samples=int(pools.source.sum()),
        labels_target=int(pools.target.sum()),
        branch=branch,
    )


def _bought(plan: Plan, memory: Memory, bought: Selection) -> Selection:
    """Line 16: the bought labels join U; or, after the last iteration, fill up T_l."""
    target = bought.pools.target
    memory = memory._replace(
        purchases=memory.purchases + 1,
        union=memory.union._replace(target=memory.union.target | target),
    )
    if memory.iteration < plan.source_rounds:
        memory = _next(plan, memory)
    return bought._replace(memory=memory, again=memory.line != Line.BUY)


def _next(plan: Plan, memory: Memory) -> Memory:
    """The memory at the end of an iteration."""
    finished = memory.iteration + 1
    line = Line.TRAIN if finished < plan.source_rounds else Line.BUY
    return memory._replace(iteration=finished, line=line)


def _selection(pools: Pools, memory: Memory, line: str, **columns: Any) -> Selection:
    """The result of one line. The turn continues, unless training must precede BUY."""
    columns = {"line": line, **columns}
    return Selection(pools, memory, {}, memory.line != Line.BUY, columns)


def _trial(
    plan: Plan, predictor: LossPredictor, memory: Memory, pools: Pools, key: Key
) -> float:
    """Validation accuracy of a copy of the predictor trained on the given samples."""
    start = memory.variables if plan.trial == "warm" else predictor.initial
    # Both trials use the same key, so that only their samples differ.
    fitted = predictor.fit(start, pools, keys.key(key, "trial"))
    return predictor.accuracy(fitted.variables)
