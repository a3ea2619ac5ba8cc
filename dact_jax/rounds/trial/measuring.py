"""How long the parts of a run take, from a few real iterations."""

import time
from typing import NamedTuple

import jax
import numpy as np

from dact_jax import devices, keys
from dact_jax.rounds import actions, evaluation
from dact_jax.run_types import Experiment, Run, lengths
from dact_jax.training import feeding, loop as training
from dact_jax.types import Key, Pools, Selection

_LONG = 30.0  # seconds of a selection that is not timed twice
_SECONDS = 3.0  # of iterations that are timed, unless the round is over before


class Pace(NamedTuple):
    """Seconds of work that repeats."""

    start: float  # until the first is done: mostly compilation
    each: float  # one more


class Times(NamedTuple):
    """Seconds of the parts of a run."""

    round: Pace
    evaluation: float
    # Of a selection, and of its start: mostly compilation. None: nothing is selected,
    # or a loss predictor decides, which is not tried.
    turn: Pace | None
    pretraining: Pace | None
    predictor: Pace | None
    first: float = 0.0  # of the selection before round 0, if there is one


def measure(run: Run) -> Times:
    """Trains a few iterations of each stage, evaluates and selects once.

    Raises:
      DivergedError: a loss became NaN at once.
    """
    experiment, first = _begin(run)
    pace, experiment = _train(run, experiment)
    evaluation.measure(run, experiment)  # compiles
    began = time.perf_counter()
    evaluation.measure(run, experiment)
    evaluated = time.perf_counter() - began
    turn = None
    if run.policy.num_selections and run.loss_predictor is None:
        turn = _time_turn(run, experiment)
    pretraining = None if run.pretraining is None else _stage(run.pretraining.run)
    predictor = None if run.loss_predictor is None else _stage(run.loss_predictor.run)
    return Times(pace, evaluated, turn, pretraining, predictor, first)


def _begin(run: Run) -> tuple[Experiment, float]:
    """The state before round 0, and seconds of the selection that leads to it.

    A label that nobody has given yet is class 0.
    """
    experiment = actions.template(run)
    state = devices.replicate(evaluation.copy(run.train))
    seconds = 0.0
    if run.policy.ranks_first:  # in a dry run, by a network without pre-training
        selection, seconds = _select(
            run, experiment._replace(train=state), keys.key(run.key, "first")
        )
        experiment = experiment._replace(pools=selection.pools, memory=selection.memory)
    pools = experiment.pools
    if not pools.source.any():  # a policy that chooses source samples has none yet
        pools = pools._replace(source=np.ones_like(pools.source))
    known = np.asarray(run.task.target.train.label)
    label = np.where(experiment.pools.target, np.maximum(known, 0), experiment.label)
    label = label.astype(np.int32)
    return experiment._replace(pools=pools, label=label, train=state), seconds


def _train(run: Run, experiment: Experiment) -> tuple[Pace, Experiment]:
    """The pace of the first round, and the experiment after a few iterations."""
    num_steps = lengths(run)[0]
    key = keys.key(run.key, "round", 0)
    chunks = feeding.draw_chunks(
        run, experiment.pools, experiment.label, key, 0, num_steps
    )
    empty = training.pack({}, run.schedule.chunk)
    began = first = time.perf_counter()
    done, seconds = 0, 0.0
    calls = training.make_fit(run)(experiment.train, chunks, key, num_steps, empty)
    for state, _, _ in calls:
        now, experiment = time.perf_counter(), experiment._replace(train=state)
        if not done:
            first, done = now, int(state.step)
            continue
        seconds = (now - first) / (int(state.step) - done)
        if now - first > _SECONDS:
            break
    start = first - began
    return Pace(start, seconds or start), experiment


def _time_turn(run: Run, experiment: Experiment) -> Pace:
    seconds = []
    for _ in range(2):
        seconds.append(_select(run, experiment, keys.key(run.key, "select", 0))[1])
        if seconds[0] > _LONG:  # the second one would not take much less
            break
    return Pace(max(seconds[0] - seconds[-1], 0.0), seconds[-1])


def _select(run: Run, experiment: Experiment, key: Key) -> tuple[Selection, float]:
    """One step of the policy's turn, and its seconds."""
    began = time.perf_counter()
    selection = run.policy.select(
        actions.lab(run, experiment.label),
        experiment.train.variables,
        experiment.pools,
        experiment.memory,
        key,
    )
    jax.block_until_ready(selection.pools)
    return selection, time.perf_counter() - began


def _stage(run: Run) -> Pace:
    """The pace of a stage that trains on labels alone, with its whole source in use."""
    num_target = len(run.task.target.train.label)
    pools = Pools(
        np.ones(len(run.task.source.train.label), bool), np.zeros(num_target, bool)
    )
    pace, _ = _train(run, _begin(run)[0]._replace(pools=pools))
    return pace
