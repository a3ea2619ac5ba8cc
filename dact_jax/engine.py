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
    step,
    trainer,
    workdir,
)
from dact_jax.data import streams
from dact_jax.run import Run
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

    def record_step(row: Mapping[str, Any], losses: Mapping[str, float]) -> None:
        workdir.append(folder, [row])
        show.step(row["round"], row["step"], losses)

    return rounds.Actions(
        adapt=_make_adapt(run, save, record_step),
        measure=_make_measure(run),
        restart=functools.partial(_restart, run),
        oracle=oracle.from_dataset(np.asarray(run.task.target.train.label)),
        save=save,
        record_round=record_round,
        record_picks=record_picks,
    )


def position(run: Run, experiment: Experiment) -> int:
    """The number of a checkpoint: iterations and round starts before it."""
    steps = run.schedule.steps
    return experiment.round * (steps + 1) + int(experiment.train.step)


def template(run: Run) -> Experiment:
    """An experiment of the run's shapes, for restoring one."""
    sizes = _sizes(run.task)
    first = run.policy.init(lab(run), *sizes, run.key)
    label = np.full(sizes[1], UNLABELED, np.int32)
    return Experiment(0, first.pools, label, first.memory, run.train, 0.0)


def begin(run: Run, act: rounds.Actions) -> Experiment:
    """The experiment before round 0, with its first labels bought."""
    train = _copy(run.train)
    return rounds.begin(act, lab(run), run.policy, train, _sizes(run.task), run.key)


def replicate(state: PyTree) -> PyTree:
    """The same arrays on every device."""
    return jax.device_put(state, devices.replicated(devices.mesh()))


def _restart(run: Run, train: TrainState) -> TrainState:
    """What a round begins with, from what the round before left."""
    options = run.schedule
    carried = train.variables if options.carry_weights else run.train.variables
    fresh = step.init_state(carried, run.optimizer)
    if options.carry_optimizer:
        fresh = fresh._replace(opt_state=train.opt_state)
    return replicate(_copy(fresh))


def _copy(train: TrainState) -> TrainState:
    """One to train on: its buffers are donated, those of run.train must live on."""
    return jax.tree.map(lambda leaf: leaf.copy(), train)


def _make_adapt(
    run: Run,
    save: Callable[[Experiment], None],
    record: Callable[[Mapping[str, Any], Mapping[str, float]], None],
) -> Callable[[Experiment], Experiment]:
    schedule = run.schedule
    one = step.make_step(run.model, run.method, run.optimizer, schedule.steps)
    load = functools.partial(streams.load, transform=run.augment)
    advance = jax.jit(
        step.scan_steps(one, load),
        donate_argnums=0,
        out_shardings=devices.replicated(devices.mesh()),
    )
    resident = streams.resident(run.task)

    def adapt(experiment: Experiment) -> Experiment:
        key = keys.key(run.key, "round", experiment.round)
        began = time.perf_counter() - experiment.seconds
        latest = experiment

        def on_chunk(state: TrainState, losses: dict[str, float]) -> None:
            nonlocal latest
            latest = experiment._replace(
                train=state, seconds=time.perf_counter() - began
            )
            at = int(state.step)
            record(
                {
                    "event": "train",
                    "round": experiment.round,
                    "step": at,
                    **losses,
                    "seconds": latest.seconds,
                },
                losses,
            )
            if at % schedule.save_every == 0 or at == schedule.steps:
                _check_sound(run, state.variables)
                save(latest)

        try:
            trainer.fit(
                lambda state, drawn: advance(state, resident, drawn, key),
                experiment.train,
                _chunks(run, experiment, key),
                on_chunk,
            )
        except errors.DivergedError as error:
            raise errors.DivergedError(
                f"round {experiment.round}: {error} The last good checkpoint stays; "
                "a changed config needs another --workdir."
            ) from None
        return latest

    return adapt


def _chunks(run: Run, experiment: Experiment, key: Key) -> Iterator[Batch]:
    """The chunks that are left of the experiment's round, on the devices."""
    start = int(experiment.train.step)
    lengths = trainer.chunk_sizes(start, run.schedule.steps, run.schedule.chunk)
    drawn = streams.batches(
        run.task,
        experiment.pools,
        experiment.label,
        run.schedule.sizes,
        keys.key(key, "batches"),
        start,
    )
    split = devices.batched(devices.mesh(), axis=1)
    for length in lengths:
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
        batch_size=run.schedule.eval_batch,
        sharding=devices.batched(devices.mesh()),
    )


def _check_sound(run: Run, variables: Variables) -> None:
    """Refuses weights that a forward pass overflows with, though all are finite.

    The last update before a checkpoint has no loss after it yet to tell of it.

    Raises:
      DivergedError: an output for some target images is not finite.
    """
    rows = np.arange(min(len(run.task.target.id), run.schedule.eval_batch))
    pool = run.task.target.train
    _sweep(run, variables, Examples(pool.image[rows], pool.label[rows]), TARGET)


def _make_measure(run: Run) -> Callable[[Experiment], Mapping[str, Any]]:
    target, names = run.task.target, run.task.class_names

    def accuracy(
        variables: Variables, examples: Examples, counted: np.ndarray
    ) -> float | None:
        if not counted.any():
            return None
        evidence = _sweep(run, variables, examples, TARGET)
        return inference.accuracy(
            evidence.outputs["classifier"], examples.label, counted
        )

    def measure(experiment: Experiment) -> Mapping[str, Any]:
        variables, pools = experiment.train.variables, experiment.pools
        tested, validated = (
            np.asarray(part.label) != UNLABELED for part in (target.test, target.val)
        )
        if target.test is target.train:
            # Transductive: the pool is what is tested on, less its labelled part.
            tested &= ~pools.target
        counts = np.bincount(experiment.label[pools.target], minlength=len(names))
        return {
            "event": "round",
            "round": experiment.round,
            "step": int(experiment.train.step),
            "labels_target": int(pools.target.sum()),
            "labels_val": len(target.val.label),
            "source_samples": int(pools.source.sum()),
            "test_accuracy": accuracy(variables, target.test, tested),
            "val_accuracy": accuracy(variables, target.val, validated),
            "test_images": int(tested.sum()),
            "labels_per_class": dict(zip(names, counts.tolist(), strict=True)),
            "seconds": experiment.seconds,
        }

    return measure


def _picks(
    run: Run, number: int, picked: Mapping[str, Picked]
) -> Iterator[workdir.Pick]:
    by = run.acquisition if number else "initial"
    origin = f"{number - 1}/{run.schedule.steps}" if number else ""
    for side, found in picked.items():
        names = (run.task.source if side == "source" else run.task.target).id
        for order, (row, score) in enumerate(zip(*found, strict=True)):
            yield workdir.Pick(
                number, order, side, str(names[row]), float(score), by, origin
            )


def _sizes(task: Task) -> tuple[int, int]:
    return len(task.source.train.label), len(task.target.train.label)
