"""The outer loop: train, evaluate, select, ask for labels, save; round after round."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from dact_jax import keys
from dact_jax.rounds import timing
from dact_jax.run_types import Experiment, Track
from dact_jax.types import (
    UNLABELED,
    Key,
    Lab,
    Picked,
    Policy,
    Row,
    Selection,
    TrainState,
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
    oracle: Callable[[np.ndarray], np.ndarray]  # target rows -> labels, int32[n]
    save: Callable[[Experiment], None]
    record_round: Callable[[Row], None]
    record_selection: Callable[[Row], None]
    record_picks: Callable[[int, Mapping[str, Picked]], None]  # round, picks by side


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
    selection = policy.select(
        watch.lab,
        experiment.train.variables,
        experiment.pools,
        experiment.memory,
        select_key,
    )
    seconds = {f"seconds_{name}": spent for name, spent in watch.stop().items()}
    row = {"event": "select", "round": experiment.round, "step": 0}
    experiment = _apply(actions, experiment, selection)
    actions.record_selection({**row, **selection.columns, **seconds})
    return experiment


def _apply(
    actions: Actions, experiment: Experiment, selection: Selection
) -> Experiment:
    """Buys the picked labels, records the picks, updates the pools."""
    label = experiment.label.copy()
    if "target" in selection.picked:
        row = selection.picked["target"].row
        label[row] = actions.oracle(row)
    actions.record_picks(experiment.round, selection.picked)
    return experiment._replace(
        pools=selection.pools,
        label=label,
        memory=selection.memory,
        turn=selection.again,
    )
