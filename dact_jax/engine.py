"""A run's verbs, bound to its data, its network and the devices."""

import functools
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from dact_jax import (
    checkpoint,
    devices,
    errors,
    inference,
    keys,
    oracle,
    progress,
    rounds,
    scoring,
    step,
    trainer,
    workdir,
)
from dact_jax.data import streams
from dact_jax.run import Run, lengths
from dact_jax.types import (
    SOURCE,
    TARGET,
    UNLABELED,
    Batch,
    Evidence,
    Examples,
    Experiment,
    Key,
    Lab,
    Picked,
    PyTree,
    Task,
    TrainState,
    Variables,
)

Row = Mapping[str, Any]


def lab(run: Run) -> Lab:
    """What the run's policy may do."""

    def sweep(variables: Variables, domain: int) -> Evidence:
        part = (run.task.source, run.task.target)[domain]
        evidence = _sweep(run, variables, part.train, domain)
        return evidence if domain == SOURCE else evidence._replace(label=None)

    return Lab(sweep, np.asarray(run.task.target.train.label) != UNLABELED)


def actions(
    run: Run, store: checkpoint.Store, folder: pathlib.Path, show: progress.Show
) -> rounds.Actions:
    """What the rounds do: train on this data, write into this folder.

    Args:
      run: of `build`.
      store: where checkpoints go.
      folder: of the run.
      show: what the terminal gets.
    """

    def save(experiment: Experiment) -> None:
        store.save(position(run, experiment), experiment)

    def record_round(row: Mapping[str, Any]) -> None:
        workdir.append(folder, [row])
        show.round(row)

    def record_picks(number: int, picked: Mapping[str, Picked]) -> None:
        workdir.append_picks(folder, _picks(run, number, picked))

    def record(row: Row, losses: Mapping[str, float] | None) -> None:
        workdir.append(folder, [row])
        if losses is not None:
            show.step(row["round"], row["step"], losses)

    return rounds.Actions(
        adapt=_make_adapt(run, save, record),
        measure=functools.partial(scoring.measure, run),
        choose=functools.partial(scoring.choose, run),
        track=functools.partial(scoring.begin, run),
        restart=functools.partial(_restart, run),
        oracle=oracle.from_dataset(np.asarray(run.task.target.train.label)),
        save=save,
        record_round=record_round,
        record_picks=record_picks,
    )


def position(run: Run, experiment: Experiment) -> int:
    """The number of a checkpoint: iterations and round starts before it."""
    longest = max(run.schedule.steps, run.schedule.first_steps)
    return experiment.round * (longest + 1) + int(experiment.train.step)


def template(run: Run) -> Experiment:
    """An experiment of the run's shapes, for restoring one."""
    sizes = _sizes(run.task)
    first = run.policy.init(lab(run), *sizes, run.key)
    label = np.full(sizes[1], UNLABELED, np.int32)
    track = scoring.begin(run, run.train)
    return Experiment(0, first.pools, label, first.memory, run.train, 0.0, track)


def begin(run: Run, act: rounds.Actions) -> Experiment:
    """The experiment before round 0, with its first labels bought."""
    train = scoring.copy(run.train)
    return rounds.begin(act, lab(run), run.policy, train, _sizes(run.task), run.key)


def replicate(state: PyTree) -> PyTree:
    """The same arrays on every device."""
    return jax.device_put(state, devices.replicated(devices.mesh()))


def _restart(run: Run, train: TrainState) -> TrainState:
    """What a round begins with, from what the round before left."""
    options = run.schedule
    carried = train.variables if options.carry_weights else run.train.variables
    fresh = step.init_state(carried, run.optimizer(options.steps))
    if options.carry_optimizer:
        fresh = fresh._replace(opt_state=train.opt_state)
    return replicate(scoring.copy(fresh))


def _make_adapt(
    run: Run,
    save: Callable[[Experiment], None],
    record: Callable[[Row, Mapping[str, float] | None], None],
) -> Callable[[Experiment], Experiment]:
    every = run.evaluation.every
    resident = streams.resident(run.task)
    advance = functools.cache(functools.partial(_make_advance, run))

    def adapt(experiment: Experiment) -> Experiment:
        key = keys.key(run.key, "round", experiment.round)
        num_steps = lengths(run)[experiment.round]
        began = time.perf_counter() - experiment.seconds
        latest = experiment

        def on_chunk(state: TrainState, losses: dict[str, float]) -> None:
            nonlocal latest
            at = int(state.step)
            seconds = time.perf_counter() - began
            latest = latest._replace(train=state, seconds=seconds)
            where = {"event": "train", "round": experiment.round, "step": at}
            record({**where, **losses, "seconds": seconds}, losses)
            due = at % run.schedule.save_every == 0 or at == num_steps
            if due:
                _check_sound(run, state.variables)
            if every and at % every == 0 and at < num_steps:  # then measure does
                track, row = scoring.observe(run, latest)
                latest = latest._replace(track=track)
                record(row, None)
            if due:
                save(latest)

        go = advance(num_steps)
        try:
            trainer.fit(
                lambda state, drawn: go(state, resident, drawn, key),
                experiment.train,
                _chunks(run, experiment, key, num_steps),
                on_chunk,
            )
        except errors.DivergedError as error:
            raise errors.DivergedError(
                f"round {experiment.round}: {error} The last good checkpoint stays; "
                "a changed config needs another --workdir."
            ) from None
        return latest

    return adapt


def _make_advance(run: Run, num_steps: int) -> Callable:
    """(state, resident, drawn, key) -> (state, metrics), in rounds of that length."""
    until = run.schedule.progress_steps or num_steps
    one = step.make_step(run.model, run.method, run.optimizer(num_steps), until)
    load = functools.partial(streams.load, transform=run.augment)
    return jax.jit(
        step.scan_steps(one, load),
        donate_argnums=0,
        out_shardings=devices.replicated(devices.mesh()),
    )


def _chunks(
    run: Run, experiment: Experiment, key: Key, num_steps: int
) -> Iterator[Batch]:
    """The chunks that are left of the experiment's round, on the devices."""
    start = int(experiment.train.step)
    sizes = trainer.chunk_sizes(start, num_steps, run.schedule.chunk)
    drawn = streams.batches(
        run.task,
        experiment.pools,
        experiment.label,
        run.schedule.sizes,
        keys.key(key, "batches"),
        start,
    )
    split = devices.batched(devices.mesh(), axis=1)
    for length in sizes:
        yield jax.device_put(streams.chunk(drawn, length), split)


def _sweep(
    run: Run,
    variables: Variables,
    examples: Examples,
    domain: int,
) -> Evidence:
    return inference.sweep(
        run.forward,
        variables,
        examples,
        domain,
        batch_size=run.evaluation.batch,
        sharding=devices.batched(devices.mesh()),
    )


def _check_sound(run: Run, variables: Variables) -> None:
    """Refuses weights that a forward pass overflows with, though all are finite.

    The last update before a checkpoint has no loss after it yet to tell of it.

    Raises:
      DivergedError: an output for some target images is not finite.
    """
    rows = np.arange(min(len(run.task.target.id), run.evaluation.batch))
    pool = run.task.target.train
    _sweep(run, variables, Examples(pool.image[rows], pool.label[rows]), TARGET)


def _picks(
    run: Run, number: int, picked: Mapping[str, Picked]
) -> Iterator[workdir.Pick]:
    by = run.acquisition if number else "initial"
    origin = f"{number - 1}/{lengths(run)[number - 1]}" if number else ""
    for side, found in picked.items():
        names = (run.task.source if side == "source" else run.task.target).id
        for order, (row, score) in enumerate(zip(*found, strict=True)):
            yield workdir.Pick(
                number, order, side, str(names[row]), float(score), by, origin
            )


def _sizes(task: Task) -> tuple[int, int]:
    return len(task.source.train.label), len(task.target.train.label)
