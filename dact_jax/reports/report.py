"""The report of a run, made from the files in its folder alone."""

import collections
import itertools
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dact_jax import errors, storage
from dact_jax.reports import captions, curves, ledger, markdown
from dact_jax.reports.curves import Reference
from dact_jax.rounds import workdir
from dact_jax.types import Row

_NOT_LOSSES = ("event", "round", "step", "seconds")


class Files(NamedTuple):
    markdown: pathlib.Path
    curve: pathlib.Path


def write(
    folder: pathlib.Path,
    title: str,
    *,
    reference: Reference | None = None,
    command: str | None = None,
    keep: str = "last",
) -> Files:
    """Writes report.md and its curves from metrics.jsonl and picks.csv.

    Rows with event "round" need: round, labels_target, labels_val, source_samples,
    test_accuracy and val_accuracy (in [0, 1]; None where no image has a label), and
    seconds; `test_images`, `source_pool`, `labels_per_class` (class -> target labels so
    far) and what scoring.measure has besides are optional, and so are rows "pretrain"
    and "select". Pictures of `captions` that lie in the folder are shown.

    Args:
      folder: of the run.
      title: one line.
      reference: published accuracies to show beside the run's.
      command: the shell command that resumes or repeats the run.
      keep: what says which network of a round goes on, "last" or "best_val".

    Raises:
      InputError: no round is finished yet, or an accuracy in `reference` is not a
        fraction.
    """
    rows = workdir.read(folder)
    rounds = [row for row in rows if row["event"] == "round"]
    if not rounds:
        raise errors.InputError(
            f"{folder / workdir.METRICS} holds no finished round yet: "
            "a report needs at least one."
        )
    published = reference or {}
    _check(published)
    files = Files(folder / "report.md", folder / "learning_curve.png")
    train = [row for row in rows if row["event"] == "train"]
    parts = [
        f"# {title}",
        _summary(rounds),
        _pretraining(rows),
        _curve(rows, rounds, published, files.curve),
        _source_curve(rows, rounds, folder),
        ledger.costs(rows, keep=keep),
        ledger.decisions(rows),
        _rounds(rounds, train),
        _columns(rounds),
        _picks(workdir.read_picks(folder)),
        _classes(rounds),
        _published(rounds, published),
        *_pictures(folder),
        f"## To repeat or resume\n\n```bash\n{command}\n```" if command else "",
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    storage.write_atomic(files.markdown, text)
    return files


def _summary(rounds: Sequence[Row]) -> str:
    first, last = rounds[0], rounds[-1]
    if last["test_accuracy"] is None:
        text = "No test image of the target has a label, so no test accuracy is known"
    else:
        text = (
            f"With {last['labels_target']} target labels bought, the classifier is "
            f"right on {markdown.percent(last['test_accuracy'])} % of the target's "
            "test images"
        )
        if len(rounds) > 1:
            text += (
                f"; with {first['labels_target']}, in its first round, it was on "
                f"{markdown.percent(first['test_accuracy'])} %"
            )
    return f"{text}. Rounds finished: {len(rounds)}."


def _pretraining(rows: Sequence[Row]) -> str:
    found = [row for row in rows if row["event"] == "pretrain"]
    if not found or found[-1]["test_accuracy"] is None:
        return ""
    row = found[-1]
    return (
        f"Before round 0, after {row['step']} iterations on the source alone, it was "
        f"right on {markdown.percent(row['test_accuracy'])} %."
    )


def _curve(
    rows: Sequence[Row],
    rounds: Sequence[Row],
    published: Reference,
    path: pathlib.Path,
) -> str:
    evaluations = [row for row in rows if row["event"] == "eval"]
    # One round is one point: then what happened within it tells more.
    within = len(rounds) == 1 and bool(evaluations)
    drawn = (
        curves.by_iteration([*evaluations, *rounds])
        if within
        else curves.by_labels(rounds, published)
    )
    drawn.savefig(path, dpi=150)
    against = "iterations" if within else "target labels bought"
    return f"![Accuracy against {against}]({path.name})"


def _source_curve(
    rows: Sequence[Row], rounds: Sequence[Row], folder: pathlib.Path
) -> str:
    """A picture where the source in use changed, otherwise how much of it was used."""
    sizes = {row["source_samples"] for row in rounds}
    decisions = [row for row in rows if "accuracy_source" in row]
    if len(sizes) > 1 or decisions:
        path = folder / "source_curve.png"
        curves.by_source(rounds, decisions).savefig(path, dpi=150)
        shown = f"![Accuracy against source samples]({path.name})"
        if decisions:
            shown += (
                "\n\nTrials are the copies of the scoring network that Algorithm 2 "
                "compares when so many source samples are chosen: one trained further "
                "on these, N, and one on the target labels that there are then, T_l. "
                "Rounds are those of the adapted classifier."
            )
        if len(sizes) > 1 and len({row["labels_target"] for row in rounds}) > 1:
            shown += (
                "\n\nTarget labels were bought between these rounds too: this curve is "
                "not the effect of the source alone."
            )
        return shown
    (size,) = sizes
    pool = rounds[-1].get("source_pool", size)
    if size == pool:
        return f"The whole source ({size} samples) was used in every round."
    return f"The same number of source samples, {size} of {pool}, was used throughout."


def _pictures(folder: pathlib.Path) -> Iterable[str]:
    for name, (heading, text) in captions.CAPTIONS.items():
        if (folder / name).exists():
            yield f"## {heading}\n\n![{heading}]({name})\n\n{text}"


def _columns(rounds: Sequence[Row]) -> str:
    """The same networks judged otherwise, and others of the same rounds."""
    known = [row for row in rounds if row.get("test_mean_class_accuracy") is not None]
    if not known:
        return ""
    head = (
        "round",
        "last: test %",
        "last: mean over classes %",
        "best by validation: test %",
        "of iteration",
        "best by test: test %",
    )
    body = [
        (
            row["round"],
            markdown.percent(row["test_accuracy"]),
            markdown.percent(row["test_mean_class_accuracy"]),
            markdown.percent(row["test_at_best_val"]),
            "-" if row["best_val_step"] is None else row["best_val_step"],
            markdown.percent(row["best_test"]),
        )
        for row in known
    ]
    return (
        f"## Which network of a round\n\n{markdown.table(head, body)}\n\n"
        "The best by test was chosen by the very labels that it is measured on: papers "
        "report it, but it is optimistic, and nothing here is selected by it."
    )


def _rounds(rounds: Sequence[Row], train: Sequence[Row]) -> str:
    ends = {row["round"]: row for row in train}  # the last row of each round
    losses = [
        name
        for name in dict.fromkeys(itertools.chain.from_iterable(ends.values()))
        if name not in _NOT_LOSSES
    ]
    head = ("round", "target labels", "source samples", "test %", "validation %")
    body = [
        (
            row["round"],
            row["labels_target"],
            row["source_samples"],
            markdown.percent(row["test_accuracy"]),
            markdown.percent(row["val_accuracy"]),
            *(_short(ends.get(row["round"], {}).get(name)) for name in losses),
            f"{row['seconds']:.1f}",
        )
        for row in rounds
    ]
    total = sum(row["seconds"] for row in rounds)
    note = " Losses are the last that the round logged." if losses else ""
    return (
        f"## Rounds\n\n{markdown.table((*head, *losses, 'seconds'), body)}\n\n"
        f"Training time, with the evaluations in it: {total:.1f} s in all, "
        f"{total / len(rounds):.1f} s a round on average.{note}"
    )


def _picks(picks: Sequence[workdir.Pick]) -> str:
    counts = collections.Counter(
        (pick.round, pick.side, pick.acquisition, pick.checkpoint) for pick in picks
    )
    if not counts:
        return ""
    head = ("trained on from round", "side", "picked by", "with the model of", "number")
    table = markdown.table(head, [(*group, number) for group, number in counts.items()])
    return f"## Picks\n\n{table}\n\nEach one, with its score: {workdir.PICKS}."


def _classes(rounds: Sequence[Row]) -> str:
    counted = [row for row in rounds if row.get("labels_per_class")]
    if not any(sum(row["labels_per_class"].values()) for row in counted):
        return ""
    head = ("class", *(f"round {row['round']}" for row in counted))
    body = [
        (name, *(row["labels_per_class"].get(name, 0) for row in counted))
        for name in counted[-1]["labels_per_class"]
    ]
    return f"## Target labels of each class\n\n{markdown.table(head, body)}"


def _published(rounds: Sequence[Row], published: Reference) -> str:
    if not published:
        return ""
    ours = {
        row["labels_target"]: markdown.percent(row["test_accuracy"]) for row in rounds
    }
    body = [
        (name, labels, markdown.percent(accuracy), ours.get(labels, "-"))
        for name, points in published.items()
        for labels, accuracy in points
    ]
    head = ("published", "target labels", "test %", "this run's test %")
    return f"## Beside published numbers\n\n{markdown.table(head, body)}"


def _check(published: Reference) -> None:
    for name, points in published.items():
        for _, accuracy in points:
            if not 0 <= accuracy <= 1:
                raise errors.InputError(
                    f"reference {name!r} has the accuracy {accuracy}: it must be a "
                    f"fraction between 0 and 1, such as {accuracy / 100:g}."
                )


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
