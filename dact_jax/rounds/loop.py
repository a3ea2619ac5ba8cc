"""The outer loop: train, measure, select, ask, save; round after round."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from dact_jax import keys
from dact_jax.rounds import timing
from dact_jax.types import (
    UNLABELED,
    Experiment,
    Key,
    Lab,
    Picked,
    Policy,
    Row,
    Selection,
    Track,
    TrainState,
)


class Actions(NamedTuple):
    """What a round does; bound to data, model and devices by engine."""

    adapt: Callable[[Experiment], Experiment]  # trains to the end of the round
    measure: Callable[[Experiment], Row]  # accuracies and label counts
    choose: Callable[[Experiment, Row], Experiment]  # weights that go on: last or best
    restart: Callable[[TrainState], TrainState]  # what a new round begins with
    track: Callable[[TrainState], Track]  # what it has seen then
    lab: Callable[[np.ndarray], Lab]  # labels bought so far, int32[N_t] -> for policies
    oracle: Callable[[np.ndarray], np.ndarray]  # target rows int32[n] -> labels
    save: Callable[[Experiment], None]
    record_round: Callable[[Row], None]
    record_selection: Callable[[Row], None]
    record_picks: Callable[[int, Mapping[str, Picked]], None]


def begin(
    actions: Actions,
    policy: Policy,
    train: TrainState,
    sizes: tuple[int, int],
    key: Key,
) -> Experiment:
    """The experiment before its first round: first labels asked for and recorded.

    Args:
      actions: lab, oracle, track, record_picks and save are used.
      policy: chooses the first pools.
      train: the state that training begins with.
      sizes: (N_s, N_t).
      key: of the run.
    """
    nobody = np.full(sizes[1], UNLABELED, np.int32)
    lab = actions.lab(nobody)
    selection = policy.init(lab, sizes[0], sizes[1], keys.key(key, "policy"))
    experiment = Experiment(
        0, selection.pools, nobody, selection.memory, train, 0.0, actions.track(train)
    )
    experiment = _accept(actions, experiment, selection)
    actions.save(experiment)
    return experiment


def run(
    experiment: Experiment, actions: Actions, policy: Policy, key: Key
) -> Experiment:
    """Runs what is left and returns the finished experiment.

    Everything is a function of the experiment and the key, so a run that was stopped
    anywhere goes on from its last checkpoint exactly as if it had not been.
    """
    while not finished(experiment, policy):
        go = _select if experiment.turn else _train
        experiment = go(experiment, actions, policy, key)
        if not experiment.turn and 0 < experiment.round < policy.num_rounds:
            train = actions.restart(experiment.train)
            experiment = experiment._replace(train=train, track=actions.track(train))
        actions.save(experiment)
    return experiment


def finished(experiment: Experiment, policy: Policy) -> bool:
    """Whether nothing is left to train or to select."""
    return experiment.round >= policy.num_rounds and not experiment.turn


def _train(
    experiment: Experiment, actions: Actions, policy: Policy, key: Key
) -> Experiment:
    """One round of training, measured."""
    del key
    now = experiment.round
    experiment = actions.adapt(experiment)
    row = actions.measure(experiment)
    actions.record_round(row)
    experiment = actions.choose(experiment, row)
    turn = now < policy.num_selections
    return experiment._replace(round=now + 1, seconds=0.0, turn=turn)


def _select(
    experiment: Experiment, actions: Actions, policy: Policy, key: Key
) -> Experiment:
    """One step of the policy's turn."""
    coming = experiment.round
    own = keys.key(key, "select", coming - 1) if coming else keys.key(key, "first")
    watch = timing.start(actions.lab(experiment.label))
    selection = policy.select(
        watch.lab, experiment.train.variables, experiment.pools, experiment.memory, own
    )
    seconds = {f"seconds_{name}": spent for name, spent in watch.stop().items()}
    experiment = _accept(actions, experiment, selection)
    place = {"event": "select", "round": coming, "step": 0}
    actions.record_selection({**place, **selection.columns, **seconds})
    return experiment


def _accept(
    actions: Actions, experiment: Experiment, selection: Selection
) -> Experiment:
    """Asks for what was picked, records it and lets the policy have its way."""
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
