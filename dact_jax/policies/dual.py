"""D_AcT (Liu et al., Algorithm 2): choose source samples, and buy target labels.

A network (P_t, P_l) is trained on U, the samples chosen so far, and ranks the source by
a loss that it predicts. The best B_s join N. Then validation accuracy says what helps
more: N, or the labelled target T_l. N joins U; or S_AcT, with N for its source, buys
B_t target labels, which join U.

The listing leaves open, and is read so: B_s samples come from S without N; both trial
networks start from the current one (`trial`) and take equal steps; only acc_s > acc_t
favours the source; T_l is filled up to its budget after the last iteration, and one
more training ends the run.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dact_jax import errors, keys
from dact_jax.policies import single
from dact_jax.types import (
    Acquisitions,
    Evidence,
    Key,
    Lab,
    LossPredictor,
    Picked,
    Policy,
    Pools,
    Selection,
    Variables,
)

LOSS_PREDICTOR = "loss_prediction"  # the method that trains (P_t, P_l)

TRAINED = "train the predictor"  # what a row calls line 5
TRAIN, CHOOSE, TRY_SOURCE, DECIDE, BUY = range(5)  # lines 5; 6-8; 9-10; 11-15; 16


class Memory(NamedTuple):
    """Where Algorithm 2 is, and what it knows besides the pools N and T_l."""

    line: int  # the next one
    iteration: int  # finished ones; i - 1
    purchases: int  # done
    union: Pools  # U
    read: np.ndarray  # bool[N_s], source samples whose label was looked at
    variables: Variables  # of (P_t, P_l)
    accuracy: float  # acc_s of this iteration


class Plan(NamedTuple):
    per_round: int  # B_t
    purchases: int  # of B_t labels, in all
    source_per_round: int  # B_s; 0: so that half of the source is chosen in all
    source_rounds: int  # n
    trial: str  # "warm" or "scratch"


def make(
    acquire: Acquisitions,
    labelled: np.ndarray,
    *,
    initial: int = 10,
    per_round: int = 10,
    purchases: int = 4,
    source_per_round: int = 0,
    source_rounds: int = 4,
    trial: str = "warm",
) -> Policy:
    """Algorithm 2; |N| and |T_l| end at the numbers of Table 6.

    Args:
      acquire: the source's chooses N, predicted_loss for D_AcT and random for R_AcT;
        the target's is that of S_AcT.
      labelled: bool[N_t], target samples whose labels come for free at the start.
      initial: size of the random first T_l.
      per_round: B_t, labels bought at once.
      purchases: how often labels are bought; |T_l| = initial + purchases * per_round.
      source_per_round: B_s, source samples chosen at once; 0: as many as make N half of
        the source.
      source_rounds: n; |N| = n * B_s.
      trial: "warm", the networks that are compared go on from the current (P_t, P_l);
        "scratch", from its first weights.

    Raises:
      InputError: a number is too small; from `init`, more labels or source samples
        than there are, no unlabelled image left, or no label to begin with.
    """
    check(
        initial=initial,
        per_round=per_round,
        purchases=purchases,
        source_per_round=source_per_round,
        source_rounds=source_rounds,
        trial=trial,
    )
    plan = Plan(per_round, purchases, source_per_round, source_rounds, trial)
    budget = single.Budget("policies.dual", initial, per_round, purchases)
    begin, buy = single.buying(acquire.target, labelled, budget)

    def init(lab: Lab, num_source: int, num_target: int, key: Key) -> Selection:
        _check_source(plan, num_source)
        first = begin(lab, num_source, num_target, key)
        if not first.pools.target.any():
            raise errors.InputError(
                "policies.dual trains its first network on labelled target images "
                "and has none: set policies.dual.initial, such as 10."
            )
        nobody = np.zeros(num_source, bool)
        pools = first.pools._replace(source=nobody)
        start = _predictor(lab).initial
        memory = Memory(TRAIN, 0, 0, pools, nobody, start, 0.0)
        return Selection(pools, memory, first.picked, again=True)

    def select(
        lab: Lab, variables: Variables, pools: Pools, memory: Memory, key: Key
    ) -> Selection:
        key = keys.key(key, "iteration", memory.iteration)
        if memory.line == BUY:
            bought = buy(lab, variables, pools, (), key)
            return _bought(plan, memory, bought)
        if memory.line == CHOOSE:
            return _choose(acquire, plan, lab, pools, memory, key)
        step = {TRAIN: _train, TRY_SOURCE: _try_source, DECIDE: _decide}[memory.line]
        return step(plan, _predictor(lab), pools, memory, key)

    return Policy(init, select, num_rounds=purchases + 1, num_selections=purchases)


def check(
    *,
    initial: int,
    per_round: int,
    purchases: int,
    source_per_round: int,
    source_rounds: int,
    trial: str,
) -> None:
    """Raises InputError if an option is unknown or out of its range."""
    errors.check_choice("policies.dual.trial", trial, ("warm", "scratch"))
    for name, value, least in (
        ("source_per_round", source_per_round, 0),
        ("source_rounds", source_rounds, 1),
    ):
        if value < least:
            raise errors.InputError(
                f"policies.dual.{name}={value} must be {least} or more."
            )
    single.check_budget(single.Budget("policies.dual", initial, per_round, purchases))


def _train(
    plan: Plan, predictor: LossPredictor, pools: Pools, memory: Memory, key: Key
) -> Selection:
    """Line 5: (P_t, P_l) goes on, on U."""
    del plan
    fitted = predictor.fit(memory.variables, memory.union, keys.key(key, "train"))
    size = int(memory.union.source.sum() + memory.union.target.sum())
    now = memory._replace(line=CHOOSE, variables=fitted.variables)
    told = {"iteration": memory.iteration + 1, "union": size, **fitted.losses}
    return _again(pools, now, TRAINED, told)


def _choose(
    acquire: Acquisitions,
    plan: Plan,
    lab: Lab,
    pools: Pools,
    memory: Memory,
    key: Key,
) -> Selection:
    """Lines 6-8: the first B_s of S without N, in order of their score, join N."""
    if acquire.blind:
        evidence = Evidence(np.zeros((len(pools.source), 0), np.float32), {}, None)
    else:
        evidence = _predictor(lab).sweep(memory.variables)
    picked = acquire.source(
        evidence, pools.source, _share(plan, pools), keys.key(key, "choose")
    )
    if not acquire.blind:
        picked = picked._replace(origin=f"predictor/{memory.iteration + 1}")
    source = pools.source.copy()
    source[picked.row] = True
    read = memory.read | source | (bool(picked.labels_read) & ~pools.source)
    now = memory._replace(line=TRY_SOURCE, read=read)
    found = {"source_labels_read": int(read.sum())}
    new = pools._replace(source=source)
    return _again(new, now, "choose source samples", found, {"source": picked})


def _try_source(
    plan: Plan, predictor: LossPredictor, pools: Pools, memory: Memory, key: Key
) -> Selection:
    """Lines 9-10: acc_s, of a copy trained on N."""
    only = pools._replace(target=np.zeros_like(pools.target))
    accuracy = _trial(plan, predictor, memory, only, key)
    now = memory._replace(line=DECIDE, accuracy=accuracy)
    return _again(pools, now, "try the source samples")


def _decide(
    plan: Plan, predictor: LossPredictor, pools: Pools, memory: Memory, key: Key
) -> Selection:
    """Lines 11-15: acc_t, of a copy trained on T_l, and what joins U."""
    only = pools._replace(source=np.zeros_like(pools.source))
    accuracy = _trial(plan, predictor, memory, only, key)
    found = {
        "iteration": memory.iteration + 1,
        "accuracy_source": memory.accuracy,
        "accuracy_target": accuracy,
        "source_samples": int(pools.source.sum()),
        "labels_target": int(pools.target.sum()),
    }
    name = "try the target labels"
    if memory.accuracy > accuracy:
        union = memory.union._replace(source=memory.union.source | pools.source)
        now = _next(plan, memory._replace(union=union))
        return _again(pools, now, name, {**found, "branch": "source"})
    if memory.purchases == plan.purchases:  # T_l stays as it is, and so does U
        now = _next(plan, memory)
        return _again(pools, now, name, {**found, "branch": "spent"})
    now = memory._replace(line=BUY)
    return _again(pools, now, name, {**found, "branch": "target"})


def _bought(plan: Plan, memory: Memory, bought: Selection) -> Selection:
    """Line 16: the labels that S_AcT bought join U; or T_l is filled up."""
    target = bought.pools.target
    now = memory._replace(
        purchases=memory.purchases + 1,
        union=memory.union._replace(target=memory.union.target | target),
    )
    if memory.iteration < plan.source_rounds:
        now = _next(plan, now)
    return bought._replace(memory=now, again=now.line != BUY)


def _next(plan: Plan, memory: Memory) -> Memory:
    """The memory at the end of an iteration."""
    done = memory.iteration + 1
    line = TRAIN if done < plan.source_rounds else BUY
    return memory._replace(iteration=done, line=line)


def _again(
    pools: Pools,
    memory: Memory,
    line: str,
    found: Mapping[str, Any] | None = None,
    picked: Mapping[str, Picked] | None = None,
) -> Selection:
    """The turn goes on, unless training has to come before the next line."""
    told = {"line": line, **(found or {})}
    again = memory.line != BUY
    return Selection(pools, memory, picked or {}, again, told)


def _trial(
    plan: Plan, predictor: LossPredictor, memory: Memory, only: Pools, key: Key
) -> float:
    """Validation accuracy of a copy of the predictor, trained on some samples."""
    start = memory.variables if plan.trial == "warm" else predictor.initial
    # One key for both copies: what they see differs, chance does not.
    fitted = predictor.fit(start, only, keys.key(key, "trial"))
    return predictor.accuracy(fitted.variables)


def _predictor(lab: Lab) -> LossPredictor:
    assert lab.loss_predictor is not None
    return lab.loss_predictor


def _share(plan: Plan, pools: Pools) -> int:
    """B_s."""
    half = len(pools.source) // (2 * plan.source_rounds)
    return plan.source_per_round or half


def _check_source(plan: Plan, num_source: int) -> None:
    total = plan.source_rounds * plan.source_per_round
    if not total and num_source < 2 * plan.source_rounds:
        raise errors.InputError(
            f"policies.dual chooses half of the source in {plan.source_rounds} rounds, "
            f"but it has only {num_source} samples: lower source_rounds."
        )
    if total > num_source:
        raise errors.InputError(
            f"policies.dual asks for {plan.source_rounds} x {plan.source_per_round} = "
            f"{total} source samples, but there are only {num_source}: lower "
            "source_rounds or source_per_round."
        )
