"""The outer loop: train, evaluate, select, ask for labels, save; round after round."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from dact_jax import keys
from dact_jax.processes import group
from dact_jax.rounds import oracle, timing
from dact_jax.run_types import Experiment, Track
from dact_jax.types import (
    TARGET,
    UNLABELED,
    Evidence,
    Key,
    Lab,
    Picked,
    Policy,
    Pools,
    PyTree,
    Row,
    Selection,
    TrainState,
    Variables,
)

NO_LOSSES = np.zeros((1, 1))


class Actions(NamedTuple):
    """What a round does, bound to data, model and devices (`actions.bind`)."""

    adapt: Callable[[Experiment], Experiment]  # trains to the end of the round
    measure: Callable[[Experiment], Row]  # accuracies and label counts
    choose: Callable[[Experiment, Row], Experiment]  # keeps the last or best weights
    restart: Callable[[TrainState], TrainState]  # for a new round
    track: Callable[[TrainState], Track]  # the track of a new round
    lab: Callable[[np.ndarray], Lab]  # labels bought so far, int32[N_t] -> policy's lab
    oracle: oracle.Oracle  # gives the labels of picked target rows
    save: Callable[[Experiment], None]
    record_round: Callable[[Row], None]
    record_selection: Callable[[Row], None]
    # round, picks by side, all labels
    record_picks: Callable[[int, Mapping[str, Picked], np.ndarray], None]
    # round, target rows whose label has changed, all labels
    record_corrections: Callable[[int, np.ndarray, np.ndarray], None]


def begin(
    actions: Actions,
    policy: Policy,
    train: TrainState,
    sizes: tuple[int, int],
    key: Key,
    *,
    losses: np.ndarray = NO_LOSSES,
) -> Experiment:
    """The experiment before round 0: the first labels are bought, recorded and saved.

    Args:
      train: the state that round 0 begins with.
      sizes: (N_s, N_t), rows of the source and of the target pool.
      losses: those of no iteration, in the shape that checkpoints have.
    """
    unlabeled = np.full(sizes[1], UNLABELED, np.int32)
    selection = policy.init(
        actions.lab(unlabeled), sizes[0], sizes[1], keys.key(key, "policy")
    )
    experiment = Experiment(
        round=0,
        pools=selection.pools,
        label=unlabeled,
        memory=selection.memory,
        train=train,
        seconds=0.0,
        track=actions.track(train),
        losses=losses,
    )
    experiment = _apply(actions, experiment, selection)
    actions.save(experiment)
    return experiment


def run(
    experiment: Experiment, actions: Actions, policy: Policy, key: Key
) -> Experiment:
    """Runs what is left and returns the finished experiment.

    Everything is a function of the experiment and the key, so a run that is resumed
    from any checkpoint ends as if it had never stopped.
    """
    while not finished(experiment, policy):
        if experiment.turn:
            experiment = _select(experiment, actions, policy, key)
        else:
            experiment = _train(experiment, actions, policy)
        if not experiment.turn and 0 < experiment.round < policy.num_rounds:
            train = actions.restart(experiment.train)
            experiment = experiment._replace(train=train, track=actions.track(train))
        actions.save(experiment)
    return experiment


def finished(experiment: Experiment, policy: Policy) -> bool:
    """Whether nothing is left to train or to select."""
    return experiment.round >= policy.num_rounds and not experiment.turn


def _train(experiment: Experiment, actions: Actions, policy: Policy) -> Experiment:
    """One round of training and its evaluation."""
    experiment = actions.adapt(experiment)
    row = actions.measure(experiment)
    actions.record_round(row)
    experiment = actions.choose(experiment, row)
    return experiment._replace(
        round=experiment.round + 1,
        seconds=0.0,
        turn=experiment.round < policy.num_selections,
    )


def _select(
    experiment: Experiment, actions: Actions, policy: Policy, key: Key
) -> Experiment:
    """One step of the policy's turn."""
    if experiment.round:
        select_key = keys.key(key, "select", experiment.round - 1)
    else:
        select_key = keys.key(key, "first")
    watch = timing.start(actions.lab(experiment.label))
    lab, seen = _remembering(watch.lab)
    selection = policy.select(
        lab,
        experiment.train.variables,
        experiment.pools,
        experiment.memory,
        select_key,
    )
    selection = group.tree_from_first(selection)  # others may round differently
    seconds = {f"seconds_{name}": spent for name, spent in watch.stop().items()}
    row = {"event": "select", "round": experiment.round, "step": 0}
    experiment = _apply(actions, experiment, selection, seen.get(TARGET))
    columns = dict(selection.columns)
    if "labels_target" in columns:  # the oracle may have given fewer than were picked
        columns["labels_target"] = int(experiment.pools.target.sum())
    actions.record_selection({**row, **columns, **seconds})
    return experiment


def _remembering(lab: Lab) -> tuple[Lab, Mapping[int, Evidence]]:
    """The lab, and the last evidence of each domain that it gave."""
    seen: dict[int, Evidence] = {}

    def sweep(variables: Variables, domain: int) -> Evidence:
        seen[domain] = lab.sweep(variables, domain)
        return seen[domain]

    return lab._replace(sweep=sweep), seen


def _apply(
    actions: Actions,
    experiment: Experiment,
    selection: Selection,
    evidence: Evidence | None = None,
) -> Experiment:
    """Buys the picked labels, records the picks, updates the pools.

    Args:
      evidence: of the network that ranked the target, if one did.
    """
    label, picked = experiment.label, dict(selection.picked)
    if "target" in picked:
        row, score = picked["target"].row, picked["target"].score
        logits = None if evidence is None else evidence.outputs.get("classifier")
        asked = oracle.Asked(experiment.round, row, score, label, logits)
        label = actions.oracle(asked)
        kept = label[row] >= 0
        picked["target"] = picked["target"]._replace(row=row[kept], score=score[kept])
        others = np.ones(len(label), bool)
        others[row] = False
        changed = np.flatnonzero(others & (label != experiment.label))
        if changed.size:
            actions.record_corrections(experiment.round, changed, label)
    actions.record_picks(experiment.round, picked, label)
    unknown = selection.pools.target & (label < 0)
    return experiment._replace(
        pools=_without(unknown, selection.pools),
        label=label.copy(),
        memory=_without(unknown, selection.memory),
        turn=selection.again,
    )


def _without(unknown: np.ndarray, tree: PyTree) -> PyTree:
    """The tree with these target rows out of every `Pools` in it.

    Args:
      unknown: bool[N_t], rows that were picked and got no label.
    """
    if not unknown.any():
        return tree

    def clear(leaf: PyTree) -> PyTree:
        if not isinstance(leaf, Pools):
            return leaf
        return leaf._replace(target=leaf.target & ~unknown)

    return jax.tree.map(clear, tree, is_leaf=lambda leaf: isinstance(leaf, Pools))
