"""Tables of a report: rounds, networks of a round, picks, and labels by class."""

import collections
import itertools
from collections.abc import Sequence

from dact_jax.reports.sections import content
from dact_jax.reports.sections.content import Section, Table
from dact_jax.rounds import workdir
from dact_jax.types import Row

_NOT_LOSSES = ("event", "round", "step", "seconds")
_LOSSES = (
    " Losses are the last ones logged in each round: loss is what was minimized in "
    "total, the others are terms of the method before their weights and signs. A term "
    "may be subtracted, such as the entropy that the classifier of MME maximizes, so "
    "the total may be negative."
)


def networks(rows: Sequence[Row], rounds: Sequence[Row]) -> Section | None:
    """The test accuracy of the three networks that each round reports.

    They are one network, and the section is None, where no round was evaluated before
    its end.

    Args:
      rows: rows of metrics.jsonl.
      rounds: those of finished rounds.
    """
    if not any(row["event"] == "eval" for row in rows):
        return None
    scored = [row for row in rounds if row.get("test_mean_class_accuracy") is not None]
    if not scored:
        return None
    head = (
        "round",
        "last: test %",
        "best by validation: test %",
        "best by validation: iteration",
        "best by test: test %",
    )
    body = [
        (
            row["round"],
            content.percent(row["test_accuracy"]),
            content.percent(row["test_at_best_val"]),
            "-" if row["best_val_step"] is None else row["best_val_step"],
            content.percent(row["best_test"]),
        )
        for row in scored
    ]
    return content.section(
        "Three networks of each round",
        Table(head, body),
        "Each round reports three networks: last, best by validation, best by test. "
        "The best by test is chosen with the labels that it is measured on. Papers "
        "report it, but it is optimistic, and this run selects nothing by it.",
    )


def rounds(finished: Sequence[Row], train: Sequence[Row]) -> Section:
    """Labels, accuracies, losses and seconds of each round.

    Args:
      finished: rows of the rounds.
      train: rows of training.
    """
    final = {row["round"]: row for row in train}  # last training row of each round
    losses = [
        name
        for name in dict.fromkeys(itertools.chain.from_iterable(final.values()))
        if name not in _NOT_LOSSES
    ]
    head = ["round", "target labels", "source samples", "test %", "validation %"]
    by_class = any(row.get("test_mean_class_accuracy") is not None for row in finished)
    if by_class:
        head.insert(4, "test %, mean over classes")
    body = [
        (
            row["round"],
            row["labels_target"],
            row["source_samples"],
            content.percent(row["test_accuracy"]),
            *[content.percent(row.get("test_mean_class_accuracy"))] * by_class,
            content.percent(row["val_accuracy"]),
            *(_short(final.get(row["round"], {}).get(name)) for name in losses),
            f"{row['seconds']:.1f}",
        )
        for row in finished
    ]
    total = sum(row["seconds"] for row in finished)
    return content.section(
        "Rounds",
        _filled((*head, *losses, "seconds"), body),
        _course(finished),
        f"Time of the rounds, including evaluations: {total:.1f} s in total, "
        f"{total / len(finished):.1f} s per round on average (each rounded by itself)."
        f"{_LOSSES if losses else ''}",
    )


def picks(made: Sequence[workdir.Pick]) -> Section | None:
    """Number of picks of each selection."""
    counts = collections.Counter(
        (pick.round, pick.side, pick.acquisition, pick.checkpoint) for pick in made
    )
    if not counts:
        return None
    note = "Checkpoints are named round/iteration"
    if any(pick.checkpoint == workdir.PRETRAINED for pick in made):
        note += "; pretrained is the network trained on the source alone"
    if any(pick.checkpoint.startswith("predictor/") for pick in made):
        note += "; predictor/2 is the loss predictor of iteration 2 of Algorithm 2"
    head = ("used from round", "pool", "acquisition", "checkpoint", "picks")
    body = [
        (number, side, acquisition, checkpoint or "-", count)
        for (number, side, acquisition, checkpoint), count in counts.items()
    ]
    return content.section(
        "Picks",
        Table(head, body),
        f"{note}. {workdir.PICKS} lists every pick with its score.",
    )


def classes(rounds: Sequence[Row]) -> Section | None:
    """Number of target labels of each class, after each round."""
    counted = [row for row in rounds if row.get("labels_per_class")]
    if not any(sum(row["labels_per_class"].values()) for row in counted):
        return None
    head = ("class", *(f"round {row['round']}" for row in counted))
    body = [
        (name, *(row["labels_per_class"].get(name, 0) for row in counted))
        for name in counted[-1]["labels_per_class"]
    ]
    return content.section("Target labels per class", Table(head, body))


def _course(finished: Sequence[Row]) -> str:
    """What the number of a round means; "" where there is one round."""
    if len(finished) < 2:
        return ""
    first = finished[0]["labels_target"]
    trained = (
        f"on the first {first} target labels" if first else "without target labels"
    )
    return (
        f"Round 0 trains {trained}; its network then chooses the images whose labels "
        "round 1 adds (and suggests classes for them, where a person is asked), and so "
        "on."
    )


def _filled(head: Sequence[str], body: Sequence[Sequence[object]]) -> Table:
    """The table without the columns in which no row has a value."""
    kept = [k for k in range(len(head)) if any(row[k] != "-" for row in body)]
    return Table([head[k] for k in kept], [[row[k] for k in kept] for row in body])


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
