"""What a round does, bound to a run's data, its network, its folder and the devices."""

import functools
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from dact_jax import devices, errors, keys
from dact_jax.rounds import (
    checkpoint,
    evaluation,
    loop,
    loss_predictor,
    oracle,
    workdir,
)
from dact_jax.run_types import Run, Show, lengths
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


def bind(
    run: Run, store: checkpoint.Store, folder: pathlib.Path, show: Show
) -> loop.Actions:
    """The actions of a run's rounds: train on its data, write into its folder."""

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

    def record_chunk(row: Row, losses: Mapping[str, float]) -> None:
        workdir.append(folder, [row])
        show.step(row["round"], row["step"], losses)

    def record_evaluation(row: Row) -> None:
        workdir.append(folder, [row])

    recorders = _Recorders(save, record_chunk, record_evaluation)
    return loop.Actions(
        adapt=functools.partial(_adapt, run, training.make_fit(run), recorders),
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


def lab(run: Run, predictor: LossPredictor | None = None) -> Lab:
    """What the run's policy may do.

    Args:
      predictor: of `loss_predictor.bind`, for a policy that chooses source samples.
    """

    def sweep(variables: Variables, domain: int) -> Evidence:
        pool = (run.task.source, run.task.target)[domain].train
        evidence = _sweep(run, variables, pool, domain)
        return evidence if domain == SOURCE else evidence._replace(label=None)

    buyable = np.asarray(run.task.target.train.label) != UNLABELED
    return Lab(sweep, buyable, predictor)


def template(run: Run) -> Experiment:
    """An experiment with the run's shapes, for restoring a checkpoint."""
    num_source, num_target = _sizes(run.task)
    label = np.full(num_target, UNLABELED, np.int32)
    selection = run.policy.init(_labs(run)(label), num_source, num_target, run.key)
    return Experiment(
        round=0,
        pools=selection.pools,
        label=label,
        memory=selection.memory,
        train=run.train,
        seconds=0.0,
        track=evaluation.begin(run, run.train),
    )


def begin(run: Run, actions: loop.Actions) -> Experiment:
    """The experiment before round 0, with its first labels bought."""
    train = evaluation.copy(run.train)
    return loop.begin(actions, run.policy, train, _sizes(run.task), run.key)


class _Recorders(NamedTuple):
    save: Callable[[Experiment], None]
    chunk: Callable[[Row, Mapping[str, float]], None]  # row of a chunk, its losses
    evaluation: Callable[[Row], None]


def _adapt(
    run: Run, fit: training.Fit, record: _Recorders, experiment: Experiment
) -> Experiment:
    """Trains to the end of the round.

    Records every chunk, evaluates every `eval.every` iterations and saves every
    `train.save_every`.
    """
    number, num_steps = experiment.round, lengths(run)[experiment.round]
    key = keys.key(run.key, "round", number)
    start = int(experiment.train.step)
    started = time.perf_counter() - experiment.seconds
    chunks = training.draw_chunks(
        run, experiment.pools, experiment.label, key, start, num_steps
    )
    try:
        for state, losses in fit(experiment.train, chunks, key, num_steps):
            at, seconds = int(state.step), time.perf_counter() - started
            experiment = experiment._replace(train=state, seconds=seconds)
            row = {"event": "train", "round": number, "step": at}
            record.chunk({**row, **losses, "seconds": seconds}, losses)
            experiment = _checkpoint(run, record, experiment, num_steps)
    except errors.DivergedError as error:
        raise errors.DivergedError(
            f"round {number}: {error} The last good checkpoint stays; "
            "a changed config needs another --workdir."
        ) from None
    return experiment


def _checkpoint(
    run: Run, record: _Recorders, experiment: Experiment, num_steps: int
) -> Experiment:
    """Evaluates and saves where the config asks for it; the end is not evaluated here.

    Raises:
      DivergedError: the weights are ruined though every loss was finite.
    """
    at, every = int(experiment.train.step), run.evaluation.every
    due = at % run.schedule.save_every == 0 or at == num_steps
    if due:
        _check_sound(run, experiment.train.variables)
    if every and at % every == 0 and at < num_steps:
        track, row = evaluation.observe(run, experiment)
        experiment = experiment._replace(track=track)
        record.evaluation(row)
    if due:
        record.save(experiment)
    return experiment


def _restart(run: Run, train: TrainState) -> TrainState:
    """The state that a round begins with, given the one that the last round left."""
    options = run.schedule
    variables = train.variables if options.carry_weights else run.train.variables
    state = step.init_state(variables, run.optimizer(options.steps))
    if options.carry_optimizer:
        state = state._replace(opt_state=train.opt_state)
    return devices.replicate(evaluation.copy(state))


def _labs(run: Run) -> Callable[[np.ndarray], Lab]:
    """Labels bought so far, int32[N_t] -> what the policy may do with them."""
    if run.loss_predictor is None:
        return lambda label: lab(run)
    predictor = loss_predictor.bind(run)
    return lambda label: lab(run, predictor(label))


def _sweep(run: Run, variables: Variables, examples: Examples, domain: int) -> Evidence:
    return inference.sweep(
        run.forward,
        variables,
        examples,
        domain,
        batch_size=run.evaluation.batch,
    )


def _check_sound(run: Run, variables: Variables) -> None:
    """Rejects finite weights with which a forward pass overflows.

    No loss is computed after the last update before a checkpoint that would show it.

    Raises:
      DivergedError: an output for some target images is not finite.
    """
    rows = np.arange(min(len(run.task.target.id), run.evaluation.batch))
    pool = run.task.target.train
    _sweep(run, variables, Examples(pool.image[rows], pool.label[rows]), TARGET)


def _picks(
    run: Run, number: int, picked: Mapping[str, Picked]
) -> Iterator[workdir.Pick]:
    """The lines of picks.csv of one selection, made before round `number`."""
    for side, picks in picked.items():
        if side == "source":
            ids, by, origin = run.task.source.id, run.source_acquisition, picks.origin
        elif number:
            ids, by = run.task.target.id, run.acquisition
            origin = f"{number - 1}/{lengths(run)[number - 1]}"
        else:
            ids, by, origin = run.task.target.id, "initial", ""
        for order, (row, score) in enumerate(zip(picks.row, picks.score, strict=True)):
            yield workdir.Pick(
                number, order, side, str(ids[row]), float(score), by, origin
            )


def _sizes(task: Task) -> tuple[int, int]:
    """(N_s, N_t)."""
    return len(task.source.train.label), len(task.target.train.label)
