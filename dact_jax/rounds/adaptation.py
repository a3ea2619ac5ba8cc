"""The training of one round: what is recorded, evaluated and saved on the way."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from dact_jax import errors, keys
from dact_jax.processes import group
from dact_jax.rounds import evaluation
from dact_jax.run_types import NEVER, Experiment, Run, Stop, lengths
from dact_jax.training import feeding, inference, loop as training
from dact_jax.types import TARGET, Examples, Row, Variables


class Recorders(NamedTuple):
    """What happens to the results of a round's training."""

    save: Callable[[Experiment], None]
    row: Callable[[Row], None]  # of metrics.jsonl
    # (round, iterations done in it, losses by name), after every chunk
    chunk: Callable[[int, int, Mapping[str, float]], None]
    # The same, after every call of the device that does not end a chunk.
    partial: Callable[[int, int, Mapping[str, float]], None]


def adapt(
    run: Run,
    fit: training.Fit,
    record: Recorders,
    experiment: Experiment,
    *,
    stop: Stop = NEVER,
) -> Experiment:
    """Trains to the end of the round.

    Records every chunk, evaluates every `eval.every` iterations, and saves every
    `train.save_every` iterations, every `train.save_minutes`, and before it stops.

    Raises:
      DivergedError: a loss became NaN, or the weights are ruined.
      StoppedError: `stop` asked for it; the last iteration is saved.
    """
    number, num_steps = experiment.round, lengths(run)[experiment.round]
    key = keys.key(run.key, "round", number)
    start = int(experiment.train.step)
    saved = time.perf_counter()
    started = saved - experiment.seconds
    chunks = feeding.draw_chunks(
        run, experiment.pools, experiment.label, key, start, num_steps
    )
    calls = fit(experiment.train, chunks, key, num_steps, experiment.losses)
    try:
        with stop.saving():
            for state, losses, complete in calls:
                now = time.perf_counter()
                experiment = experiment._replace(
                    train=state,
                    seconds=now - started,
                    losses=training.pack(
                        {} if complete else losses, run.schedule.chunk
                    ),
                )
                _record(record, experiment, training.means(losses), complete=complete)
                if complete:
                    experiment = _observe(run, record, experiment, num_steps)
                asked = any(group.everyone(stop.asked()))
                due = _due(run, experiment, num_steps, now - saved, complete=complete)
                if due or asked:
                    _check_sound(run, experiment.train.variables)
                    record.save(experiment)
                    saved = time.perf_counter()
                if asked:
                    raise errors.StoppedError(_where(experiment))
    except errors.DivergedError as error:
        raise errors.DivergedError(
            f"round {number}: {error} The last good checkpoint stays; "
            "a changed config needs another --workdir."
        ) from None
    return experiment


def _where(experiment: Experiment) -> str:
    number, at = experiment.round, int(experiment.train.step)
    return (
        f"stopped in round {number} after iteration {at}; the same command goes on "
        "from there."
    )


def _record(
    record: Recorders,
    experiment: Experiment,
    losses: Mapping[str, float],
    *,
    complete: bool,
) -> None:
    """Shows the losses; those of a finished chunk become a row of metrics."""
    number, at = experiment.round, int(experiment.train.step)
    if not complete:
        record.partial(number, at, losses)
        return
    row = {"event": "train", "round": number, "step": at, **losses}
    record.row({**row, "seconds": experiment.seconds})
    record.chunk(number, at, losses)


def _observe(
    run: Run, record: Recorders, experiment: Experiment, num_steps: int
) -> Experiment:
    """Evaluates where the config asks for it; the end of a round is not evaluated here.

    Raises:
      DivergedError: the weights are ruined though every loss was finite.
    """
    at, every = int(experiment.train.step), run.evaluation.every
    if not every or at % every or at == num_steps:
        return experiment
    track, row = evaluation.observe(run, experiment)
    record.row(row)
    return experiment._replace(track=track)


def _due(
    run: Run, experiment: Experiment, num_steps: int, seconds: float, *, complete: bool
) -> bool:
    """Whether to save, by the number of iterations or by the time since the last save.

    All processes get the same answer. In which iterations time asks for a checkpoint
    has no influence on any number.
    """
    at, limit = int(experiment.train.step), 60 * run.schedule.save_minutes
    by_number = complete and (at % run.schedule.save_every == 0 or at == num_steps)
    by_time = bool(group.from_first(lambda: 0 < limit <= seconds))
    return by_number or by_time


def _check_sound(run: Run, variables: Variables) -> None:
    """Rejects finite weights with which a forward pass overflows.

    No loss is computed after the last update before a checkpoint that would show it.

    Raises:
      DivergedError: an output for some target images is not finite.
    """
    target = run.task.target
    parts = (target.train, target.val, target.test)
    pool = next(part for part in parts if len(part.label))
    rows = np.arange(min(len(pool.label), run.evaluation.batch))
    some = Examples(pool.image[rows], pool.label[rows])
    inference.sweep(
        run.forward, variables, some, TARGET, batch_size=run.evaluation.batch
    )
