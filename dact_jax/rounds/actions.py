"""What a round does, bound to a run's data, its network, its folder and the devices."""

import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from dact_jax import devices
from dact_jax.processes import group
from dact_jax.rounds import (
    adaptation,
    checkpoint,
    evaluation,
    loop,
    loss_predictor,
    oracle,
    workdir,
)
from dact_jax.run_types import NEVER, Experiment, Run, Show, Stop, lengths
from dact_jax.training import inference, loop as training, representation, step
from dact_jax.types import (
    SKIPPED,
    SOURCE,
    TARGET,
    UNLABELED,
    Evidence,
    Examples,
    Lab,
    LossPredictor,
    Picked,
    Row,
    Task,
    TrainState,
    Variables,
)


def bind(
    run: Run,
    store: checkpoint.Store,
    folder: pathlib.Path,
    show: Show,
    *,
    stop: Stop = NEVER,
    ask: oracle.Oracle | None = None,
) -> loop.Actions:
    """The actions of a run's rounds: train on its data, write into its folder.

    Of several processes the first alone writes.

    Args:
      ask: gives the labels that are bought; None: the dataset does.
    """

    def save(experiment: Experiment) -> None:
        if group.is_first():
            written = workdir.extent(folder)
            store.save(experiment._replace(written=written))

    def record(row: Row) -> None:
        if group.is_first():
            workdir.append(folder, [row])

    def record_round(row: Row) -> None:
        record(row)
        show.round(row)

    def record_selection(row: Row) -> None:
        record(row)
        show.select(row)

    def record_picks(
        number: int, picked: Mapping[str, Picked], label: np.ndarray
    ) -> None:
        if group.is_first():
            workdir.append_picks(folder, _picks(run, number, picked))
        show.picks(number, picked, label)

    def record_corrections(number: int, row: np.ndarray, label: np.ndarray) -> None:
        record_selection(corrections(run, number, row, label))

    def record_row(row: Row) -> None:
        record(row)
        if row["event"] == "eval":
            show.evaluation(row)

    def measure(experiment: Experiment) -> Row:
        show.activity("evaluating")
        return evaluation.measure(run, experiment)

    labs = _labs(run, show.activity)

    def lab_of_turn(label: np.ndarray) -> Lab:
        show.activity("selecting what to label")
        return labs(label)

    fit = training.make_fit(run, show.activity)
    recorders = adaptation.Recorders(save, record_row, show.step, show.partial)
    return loop.Actions(
        adapt=functools.partial(adaptation.adapt, run, fit, recorders, stop=stop),
        measure=measure,
        choose=functools.partial(evaluation.choose, run),
        track=functools.partial(evaluation.begin, run),
        restart=functools.partial(_restart, run),
        lab=lab_of_turn,
        oracle=ask or oracle.from_dataset(np.asarray(run.task.target.train.label)),
        save=save,
        record_round=record_round,
        record_selection=record_selection,
        record_picks=record_picks,
        record_corrections=record_corrections,
    )


def lab(
    run: Run,
    label: np.ndarray,
    predictor: LossPredictor | None = None,
    inputs: Callable[[int], np.ndarray] | None = None,
) -> Lab:
    """What the run's policy may do.

    Args:
      label: int32[N_t], labels bought so far.
      predictor: of `loss_predictor.bind`, for a policy that chooses source samples.
      inputs: of `representation.make_inputs`, for the acquisitions that read them;
        None: those of this lab alone.
    """
    inputs = inputs or representation.make_inputs(run)

    def with_fields(evidence: Evidence, domain: int) -> Evidence:
        """The evidence with what the acquisition of a domain reads besides."""
        if "input" in run.reads[domain]:
            evidence = evidence._replace(input=inputs(domain))
        if "bought" in run.reads[domain] and domain == TARGET:
            evidence = evidence._replace(bought=np.where(label < 0, UNLABELED, label))
        return evidence

    def sweep(variables: Variables, domain: int) -> Evidence:
        pool = (run.task.source, run.task.target)[domain].train
        evidence = _sweep(run, variables, pool, domain)
        if domain == TARGET:
            evidence = evidence._replace(label=None)
        return with_fields(evidence, domain)

    if predictor is not None:
        predicted = predictor.sweep
        predictor = predictor._replace(
            sweep=lambda variables: with_fields(predicted(variables), SOURCE)
        )
    skipped = label == SKIPPED
    buyable = ~skipped  # a person can label any image
    if run.person is None:
        buyable = buyable & (np.asarray(run.task.target.train.label) != UNLABELED)
    return Lab(sweep, buyable, predictor, skipped)


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
        losses=training.pack({}, run.schedule.chunk),
        turn=selection.again,
    )


def begin(run: Run, actions: loop.Actions) -> Experiment:
    """The experiment before round 0, with its first labels bought."""
    train = evaluation.copy(run.train)
    losses = training.pack({}, run.schedule.chunk)
    sizes = _sizes(run.task)
    return loop.begin(actions, run.policy, train, sizes, run.key, losses=losses)


def corrections(run: Run, number: int, row: np.ndarray, label: np.ndarray) -> Row:
    """The row of labels that were corrected, and count from round `number` on."""
    names, ids = run.task.class_names, run.task.target.id
    return {
        "event": "correct",
        "round": number,
        "step": 0,
        "labels": {str(ids[i]): names[k] if (k := label[i]) >= 0 else "" for i in row},
    }


def _restart(run: Run, train: TrainState) -> TrainState:
    """The state that a round begins with, given the one that the last round left."""
    options = run.schedule
    variables = train.variables if options.carry_weights else run.train.variables
    state = step.init_state(variables, run.optimizer(options.steps))
    if options.carry_optimizer:
        state = state._replace(opt_state=train.opt_state)
    return devices.replicate(evaluation.copy(state))


def _labs(
    run: Run, announce: Callable[[str], object] = lambda text: None
) -> Callable[[np.ndarray], Lab]:
    """Labels bought so far, int32[N_t] -> what the policy may do with them."""
    inputs = representation.make_inputs(run)
    if run.loss_predictor is None:
        return lambda label: lab(run, label, None, inputs)
    predictor = loss_predictor.bind(run, announce)
    return lambda label: lab(run, label, predictor(label), inputs)


def _sweep(run: Run, variables: Variables, examples: Examples, domain: int) -> Evidence:
    return inference.sweep(
        run.forward,
        variables,
        examples,
        domain,
        batch_size=run.evaluation.batch,
    )


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
        elif picks.origin:  # an acquisition chose the first labels
            ids, by = run.task.target.id, run.acquisition
            origin = workdir.PRETRAINED if run.pretraining is not None else ""
        else:
            ids, by, origin = run.task.target.id, "initial", ""
        for order, (row, score) in enumerate(zip(picks.row, picks.score, strict=True)):
            yield workdir.Pick(
                number, order, side, str(ids[row]), float(score), by, origin
            )


def _sizes(task: Task) -> tuple[int, int]:
    """(N_s, N_t)."""
    return len(task.source.train.label), len(task.target.train.label)
