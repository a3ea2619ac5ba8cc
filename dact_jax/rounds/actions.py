"""A run's verbs, bound to its data, its network and the devices."""

import functools
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from dact_jax import devices, errors, keys, run_types
from dact_jax.data import streams
from dact_jax.rounds import (
    checkpoint,
    evaluation,
    loop,
    loss_predictor,
    oracle,
    workdir,
)
from dact_jax.run_types import Run, lengths
from dact_jax.training import inference, loop as training, step
from dact_jax.types import (
    SOURCE,
    TARGET,
    UNLABELED,
    Evidence,
    Examples,
    Experiment,
    Lab,
    LossPredictor,
    Picked,
    Row,
    Task,
    TrainState,
    Variables,
)


def lab(run: Run, predictor: LossPredictor | None = None) -> Lab:
    """What the run's policy may do.

    Args:
      run: of `build`.
      predictor: of `loss_predictor.bind`, where the policy chooses source samples.
    """

    def sweep(variables: Variables, domain: int) -> Evidence:
        part = (run.task.source, run.task.target)[domain]
        evidence = _sweep(run, variables, part.train, domain)
        return evidence if domain == SOURCE else evidence._replace(label=None)

    buyable = np.asarray(run.task.target.train.label) != UNLABELED
    return Lab(sweep, buyable, predictor)


def _labs(run: Run) -> Callable[[np.ndarray], Lab]:
    """Labels bought so far, int32[N_t] -> what the policy may do with them."""
    if run.loss_predictor is None:
        return lambda label: lab(run)
    predictor = loss_predictor.bind(run)
    return lambda label: lab(run, predictor(label))


def actions(
    run: Run, store: checkpoint.Store, folder: pathlib.Path, show: run_types.Show
) -> loop.Actions:
    """What the rounds do: train on this data, write into this folder.

    Args:
      run: of `build`.
      store: where checkpoints go.
      folder: of the run.
      show: what the terminal gets.
    """

    def save(experiment: Experiment) -> None:
        store.save(experiment._replace(written=workdir.extent(folder)))

    def record_round(row: Row) -> None:
        workdir.append(folder, [row])
        show.round(row)

    def record_selection(row: Row) -> None:
        workdir.append(folder, [row])
        show.select(row)

    def record_picks(number: int, picked: Mapping[str, Picked]) -> None:
        workdir.append_picks(folder, _picks(run, number, picked))

    def record(row: Row, losses: Mapping[str, float] | None) -> None:
        workdir.append(folder, [row])
        if losses is not None:
            show.step(row["round"], row["step"], losses)

    return loop.Actions(
        adapt=_make_adapt(run, save, record),
        measure=functools.partial(evaluation.measure, run),
        choose=functools.partial(evaluation.choose, run),
        track=functools.partial(evaluation.begin, run),
        restart=functools.partial(_restart, run),
        lab=_labs(run),
        oracle=oracle.from_dataset(np.asarray(run.task.target.train.label)),
        save=save,
        record_round=record_round,
        record_selection=record_selection,
        record_picks=record_picks,
    )


def template(run: Run) -> Experiment:
    """An experiment of the run's shapes, for restoring one."""
    sizes = _sizes(run.task)
    label = np.full(sizes[1], UNLABELED, np.int32)
    first = run.policy.init(_labs(run)(label), *sizes, run.key)
    track = evaluation.begin(run, run.train)
    return Experiment(0, first.pools, label, first.memory, run.train, 0.0, track)


def begin(run: Run, act: loop.Actions) -> Experiment:
    """The experiment before round 0, with its first labels bought."""
    train = evaluation.copy(run.train)
    return loop.begin(act, run.policy, train, _sizes(run.task), run.key)


def _restart(run: Run, train: TrainState) -> TrainState:
    """What a round begins with, from what the round before left."""
    options = run.schedule
    carried = train.variables if options.carry_weights else run.train.variables
    fresh = step.init_state(carried, run.optimizer(options.steps))
    if options.carry_optimizer:
        fresh = fresh._replace(opt_state=train.opt_state)
    return devices.replicate(evaluation.copy(fresh))


def _make_adapt(
    run: Run,
    save: Callable[[Experiment], None],
    record: Callable[[Row, Mapping[str, float] | None], None],
) -> Callable[[Experiment], Experiment]:
    every = run.evaluation.every
    resident = streams.resident(run.task)
    advance = functools.cache(functools.partial(training.make_advance, run))

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
                track, row = evaluation.observe(run, latest)
                latest = latest._replace(track=track)
                record(row, None)
            if due:
                save(latest)

        go = advance(num_steps)
        try:
            training.fit(
                lambda state, drawn: go(state, resident, drawn, key),
                experiment.train,
                training.chunks(
                    run,
                    experiment.pools,
                    experiment.label,
                    key,
                    int(experiment.train.step),
                    num_steps,
                ),
                on_chunk,
            )
        except errors.DivergedError as error:
            raise errors.DivergedError(
                f"round {experiment.round}: {error} The last good checkpoint stays; "
                "a changed config needs another --workdir."
            ) from None
        return latest

    return adapt


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
        sharding=devices.batched(devices.make_mesh()),
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
    for side, found in picked.items():
        if side == "source":
            names, by, origin = run.task.source.id, run.source_acquisition, found.origin
        else:
            names, by, origin = run.task.target.id, "initial", ""
            if number:
                by = run.acquisition
                origin = f"{number - 1}/{lengths(run)[number - 1]}"
        for order, (row, score) in enumerate(zip(found.row, found.score, strict=True)):
            yield workdir.Pick(
                number, order, side, str(names[row]), float(score), by, origin
            )


def _sizes(task: Task) -> tuple[int, int]:
    return len(task.source.train.label), len(task.target.train.label)
