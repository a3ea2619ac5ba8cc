"""The outer loop: train, measure, select, ask, save; round after round."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dact_jax import keys
from dact_jax.types import (
    UNLABELED,
    Experiment,
    Key,
    Lab,
    Picked,
    Policy,
    Selection,
    Track,
    TrainState,
)

Row = Mapping[str, Any]


class Actions(NamedTuple):
    """What a round does; bound to data, model and devices by engine."""

    adapt: Callable[[Experiment], Experiment]  # trains to the end of the round
    measure: Callable[[Experiment], Row]  # accuracies and label counts
    choose: Callable[[Experiment, Row], Experiment]  # weights that go on: last or best
    restart: Callable[[TrainState], TrainState]  # what a new round begins with
    track: Callable[[TrainState], Track]  # what it has seen then
    oracle: Callable[[np.ndarray], np.ndarray]  # target rows int32[n] -> labels
    save: Callable[[Experiment], None]
    record_round: Callable[[Row], None]
    record_picks: Callable[[int, Mapping[str, Picked]], None]


def begin(
    actions: Actions,
    lab: Lab,
    policy: Policy,
    train: TrainState,
    sizes: tuple[int, int],
    key: Key,
) -> Experiment:
    """The experiment before its first round: first labels asked for and recorded.

    Args:
      actions: oracle, track, record_picks and save are used.
      lab: for the policy.
      policy: chooses the first pools.
      train: the state that training begins with.
      sizes: (N_s, N_t).
      key: of the run.
    """
    selection = policy.init(lab, sizes[0], sizes[1], keys.key(key, "policy"))
    nobody = np.full(sizes[1], UNLABELED, np.int32)
    experiment = Experiment(
        0, selection.pools, nobody, selection.memory, train, 0.0, actions.track(train)
    )
    experiment = experiment._replace(label=_ask(actions, experiment, selection))
    actions.record_picks(0, selection.picked)
    actions.save(experiment)
    return experiment


def run(
    experiment: Experiment, actions: Actions, lab: Lab, policy: Policy, key: Key
) -> Experiment:
    """Runs the rounds that are left and returns the finished experiment.

    Everything is a function of the experiment and the key, so a run that was stopped
    anywhere goes on from its last checkpoint exactly as if it had not been.
    """
    while experiment.round < policy.num_rounds:
        now = experiment.round
        experiment = actions.adapt(experiment)
        row = actions.measure(experiment)
        actions.record_round(row)
        experiment = actions.choose(experiment, row)
        if now < policy.num_selections:
            selection = policy.select(
                lab,
                experiment.train.variables,
                experiment.pools,
                experiment.memory,
                keys.key(key, "select", now),
            )
            label = _ask(actions, experiment, selection)
            actions.record_picks(now + 1, selection.picked)
            experiment = experiment._replace(
                pools=selection.pools, label=label, memory=selection.memory
            )
        if now + 1 < policy.num_rounds:
            train = actions.restart(experiment.train)
            experiment = experiment._replace(train=train, track=actions.track(train))
        experiment = experiment._replace(round=now + 1, seconds=0.0)
        actions.save(experiment)
    return experiment


def _ask(actions: Actions, experiment: Experiment, selection: Selection) -> np.ndarray:
    label = experiment.label.copy()
    if "target" in selection.picked:
        row = selection.picked["target"].row
        label[row] = actions.oracle(row)
    return label
