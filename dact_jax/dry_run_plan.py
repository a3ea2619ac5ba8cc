"""What a dry run tells: counts, purchases and times, as lines."""

from collections.abc import Sequence

import ml_collections
import numpy as np

from dact_jax import errors, plugins
from dact_jax.configuration.domains.sampling import Sample
from dact_jax.data import label_counts
from dact_jax.reports.waiting import duration
from dact_jax.rounds.trial.measuring import Pace, Times
from dact_jax.run_types import Run, lengths
from dact_jax.types import UNLABELED, Array

_LISTED = 12  # rounds that are listed one by one
_TRAININGS = 3  # of the loss predictor, for each choice of source samples
_BUDGET = ("initial", "per_round", "purchases")  # options of policies that buy labels


def counts(run: Run) -> list[str]:
    """A table of the images of each class in each part."""
    task, target = run.task, run.task.target
    parts: dict[str, Array] = {
        "source": task.source.train.label,
        "pool": target.train.label,
        "validation": target.val.label,
    }
    if target.test is not target.train:
        parts["test"] = target.test.label
    columns = [np.asarray(label) for label in parts.values()]
    names = [*map(errors.printable, task.class_names), "(no label)", "all"]
    values = [
        [int((label == k).sum()) for label in columns] for k in range(len(names) - 2)
    ]
    values.append([int((label == UNLABELED).sum()) for label in columns])
    values.append([len(label) for label in columns])
    width = max(len(name) for name in ["class", *names])
    lines = [f"  {'class':{width}}" + "".join(f"{name:>12}" for name in parts)]
    for name, row in zip(names, values, strict=True):
        lines.append(f"  {name:{width}}" + "".join(f"{number:12}" for number in row))
    return lines


def sentences(run: Run) -> list[str]:
    """Where the labels are, as a run says it at its start."""
    hidden = None if run.person is None else run.person.num_hidden
    return label_counts.lines(run.task, run.given, num_hidden=hidden)


def purchases(config: ml_collections.ConfigDict, run: Run) -> list[str]:
    """Who labels what, and when: a line for each round."""
    policy, options = config.policy, dict(config.policies[config.policy])
    given = int(run.given.sum())
    rounds = f"{run.policy.num_rounds} round{'s' * (run.policy.num_rounds > 1)}"
    if not plugins.buys(policy):
        return [
            f"No label is bought: {rounds} on {given} target labels that are given."
        ]
    who = (
        "the data" if run.person is None else "a person, who is asked before each round"
    )
    first = f"Labels that are bought come from {who}."
    if not all(name in options for name in _BUDGET):
        listed = ", ".join(f"{name}={value}" for name, value in options.items())
        return [first, f"policy {policy!r} decides in {rounds} what to buy ({listed})."]
    initial, each, number = (options[name] for name in _BUDGET)
    how = f"by {config.acquisition}" if run.policy.ranks_first else "at random"
    start = f"{initial} labels, {how}"
    if given:
        start += f", besides {given} that are given"
    lines = [f"  round 0: {start}"]
    total = initial + given
    for turn in range(1, number + 1):
        total += each
        lines.append(
            f"  round {turn}: {each} labels by {config.acquisition}, {total} in all"
        )
    if run.policy.num_rounds <= number:
        lines[-1] += ", after the last training"
    if len(lines) > _LISTED:
        lines = [*lines[: _LISTED - 1], "  ...", lines[-1]]
    return [first, *lines]


def embedding(samples: Sequence[Sample], name: str) -> list[str]:
    """How many images have a vector, and how long the others take."""
    if not samples:
        return []
    images = sum(sample.images for sample in samples)
    known = sum(sample.known for sample in samples)
    paces = [sample.seconds for sample in samples if sample.seconds is not None]
    if not paces:
        return [f"All {images} images are embedded by {name} already."]
    pace = float(np.mean(paces))
    seconds = pace * (images - known)
    return [
        f"Embedding by {name}: {known} of {images} images have their vector; the other "
        f"{images - known} take about {duration(seconds)} ({1 / pace:.0f} images/s)."
    ]


def times(
    config: ml_collections.ConfigDict, run: Run, measured: Times, ready: float
) -> list[str]:
    """How long the run would take, once its images are embedded.

    Args:
      ready: seconds until the data are read.
    """
    steps, pace = lengths(run), measured.round
    turn = measured.turn or Pace(0.0, 0.0)
    number = len(steps)
    evaluations = number
    if config.eval.every:
        evaluations += sum(count // config.eval.every for count in steps)
    start = (
        ready
        + pace.start * len(set(steps))
        + turn.start
        + measured.first
        + _stages(config, run, measured)
    )
    rounds = (
        pace.each * sum(steps)
        + measured.evaluation * evaluations
        + turn.each * run.policy.num_selections
    )
    lines = [
        f"A round takes about {_short(rounds / number)}: {steps[-1]} iterations of "
        f"{1000 * pace.each:.3g} ms, then {_short(measured.evaluation)} to evaluate"
        + (f" and {_short(turn.each)} to select." if measured.turn else "."),
    ]
    if run.person is None:
        lines.append(
            f"In all about {duration(start + rounds)}, of which {_short(start)} to "
            "read the data, to compile and for what comes before the rounds; without "
            "pictures."
        )
    else:
        lines.append(
            f"Each start of the command takes {_short(start)} more, to read the data "
            "and to compile; the time in which a person answers comes on top."
        )
    return lines


def _stages(config: ml_collections.ConfigDict, run: Run, measured: Times) -> float:
    """Seconds of pre-training, and of training the loss predictor."""
    seconds = 0.0
    if measured.pretraining is not None:
        assert run.pretraining is not None
        seconds += _stage(measured.pretraining, sum(lengths(run.pretraining.run)))
    if measured.predictor is not None:
        number = _TRAININGS * config.policies[config.policy].get("source_rounds", 1)
        seconds += _stage(measured.predictor, config.loss_predictor.steps * number)
    return seconds


def _stage(pace: Pace, steps: int) -> float:
    return pace.start + pace.each * steps


def _short(seconds: float) -> str:
    """A time with two digits, such as "0.35 s", or 0:00:00 from two minutes on."""
    if seconds < 0.01:
        return "no time"
    return f"{seconds:.2g} s" if seconds < 120 else duration(seconds)
