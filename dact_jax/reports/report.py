"""The Markdown report of a run, written from the files in its folder alone."""

import collections
import itertools
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dact_jax import errors, storage
from dact_jax.data import left_out
from dact_jax.reports import captions, comparison, curves, ledger, markdown, png
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
    labels: Sequence[str] = (),
) -> Files:
    """Writes report.md and its curves from metrics.jsonl and picks.csv.

    Rows with event "round" must have round, labels_target, labels_val, source_samples,
    seconds, test_accuracy and val_accuracy (in [0, 1]; None if no image has a label).
    They may have test_images, source_pool, labels_per_class (class -> target labels
    bought so far) and the other columns of `rounds.evaluation`. Rows "pretrain" and
    "select" are optional. The report shows the pictures of `captions` that exist in
    the folder.

    Args:
      title: one line.
      reference: published accuracies, shown beside those of the run.
      command: shell command that resumes or repeats the run.
      keep: network of a round that training continues from, "last" or "best_val".
      labels: sentences that say where the labels of the target went.

    Raises:
      InputError: no round is finished, or an accuracy in `reference` is outside
        [0, 1].
    """
    workdir.check(folder)  # no report of half a record
    rows = workdir.read(folder)
    rounds = [row for row in rows if row["event"] == "round"]
    if not rounds:
        raise errors.InputError(
            f"{folder / workdir.METRICS} has no finished round yet: a report needs at "
            "least one."
        )
    published = reference or {}
    comparison.check(published)
    files = Files(folder / "report.md", folder / "learning_curve.png")
    train = [row for row in rows if row["event"] == "train"]
    parts = [
        f"# {title}",
        _summary(rounds),
        _labels(labels),
        _pretraining(rows),
        _learning_curve(rows, rounds, published, files.curve),
        _source_curve(rows, rounds, folder),
        ledger.costs(rows, keep=keep),
        ledger.decisions(rows),
        _rounds(rounds, train),
        _networks(rounds),
        _picks(workdir.read_picks(folder)),
        _classes(rounds),
        comparison.section(rounds, published),
        ledger.unused_files(left_out.read(folder)),
        *_pictures(folder),
        f"## Repeat or resume\n\n```bash\n{command}\n```" if command else "",
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    storage.write_atomic(files.markdown, text)
    return files


def _summary(rounds: Sequence[Row]) -> str:
    first, last = rounds[0], rounds[-1]
    if last["test_accuracy"] is None:
        text = (
            "No test image of the target has a label, so the test accuracy is unknown"
        )
    else:
        text = (
            f"With {last['labels_target']} target labels bought, the test accuracy on "
            f"the target is {markdown.percent(last['test_accuracy'])} %"
        )
        if len(rounds) > 1:
            text += (
                f"; in the first round, with {first['labels_target']} labels, "
                f"it was {markdown.percent(first['test_accuracy'])} %"
            )
    return f"{text}. Rounds finished: {len(rounds)}."


def _labels(lines: Sequence[str]) -> str:
    """The lines as they are: class names in them are no Markdown."""
    if not lines:
        return ""
    return "\n".join(["## Where the labels are", "", "```text", *lines, "```"])


def _pretraining(rows: Sequence[Row]) -> str:
    stages = [row for row in rows if row["event"] == "pretrain"]
    if not stages or stages[-1]["test_accuracy"] is None:
        return ""
    row = stages[-1]
    return (
        f"Before round 0, after {row['step']} iterations on the source alone, the test "
        f"accuracy was {markdown.percent(row['test_accuracy'])} %."
    )


def _learning_curve(
    rows: Sequence[Row],
    rounds: Sequence[Row],
    published: Reference,
    path: pathlib.Path,
) -> str:
    evaluations = [row for row in rows if row["event"] == "eval"]
    # One round is one point against labels; its evaluations show more.
    if len(rounds) == 1 and evaluations:
        drawing = curves.by_iteration([*evaluations, *rounds])
        quantity = "iterations"
    else:
        drawing = curves.by_labels(rounds, published)
        quantity = "target labels bought"
    png.save(drawing, path, dpi=150)
    return f"![Accuracy against {quantity}]({path.name})"


def _source_curve(
    rows: Sequence[Row], rounds: Sequence[Row], folder: pathlib.Path
) -> str:
    """A curve if the number of source samples varied, otherwise that number."""
    sizes = {row["source_samples"] for row in rounds}
    decisions = [row for row in rows if "accuracy_source" in row]
    if len(sizes) > 1 or decisions:
        path = folder / "source_curve.png"
        png.save(curves.by_source(rounds, decisions), path, dpi=150)
        paragraphs = [f"![Accuracy against source samples]({path.name})"]
        if decisions:
            paragraphs.append(
                "Trials are the two copies of the loss predictor that Algorithm 2 "
                "compares in each decision: one is trained further on the source "
                "samples chosen so far, N, the other on the target labels bought so "
                "far, T_l. Round markers show the adapted classifier."
            )
        if len(sizes) > 1 and len({row["labels_target"] for row in rounds}) > 1:
            paragraphs.append(
                "The number of target labels varies between these rounds too, so the "
                "curve does not show the effect of the source alone."
            )
        return "\n\n".join(paragraphs)
    (size,) = sizes
    pool = rounds[-1].get("source_pool", size)
    if size == pool:
        return f"Every round used all {size} source samples."
    return f"Every round used {size} of {pool} source samples."


def _pictures(folder: pathlib.Path) -> Iterable[str]:
    for name, (heading, text) in captions.CAPTIONS.items():
        if (folder / name).exists():
            yield f"## {heading}\n\n![{heading}]({name})\n\n{text}"


def _networks(rounds: Sequence[Row]) -> str:
    """The test accuracy of the three networks that each round reports."""
    scored = [row for row in rounds if row.get("test_mean_class_accuracy") is not None]
    if not scored:
        return ""
    head = (
        "round",
        "last: test %",
        "last: mean over classes %",
        "best by validation: test %",
        "best by validation: iteration",
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
        for row in scored
    ]
    return (
        f"## Three networks of each round\n\n{markdown.table(head, body)}\n\n"
        "Each round reports three networks: last, best by validation, best by test. "
        "The best by test is chosen with the labels that it is measured on. Papers "
        "report it, but it is optimistic, and this run selects nothing by it."
    )


def _rounds(rounds: Sequence[Row], train: Sequence[Row]) -> str:
    final = {row["round"]: row for row in train}  # last training row of each round
    losses = [
        name
        for name in dict.fromkeys(itertools.chain.from_iterable(final.values()))
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
            *(_short(final.get(row["round"], {}).get(name)) for name in losses),
            f"{row['seconds']:.1f}",
        )
        for row in rounds
    ]
    total = sum(row["seconds"] for row in rounds)
    note = " Losses are the last ones logged in each round." if losses else ""
    return (
        f"## Rounds\n\n{markdown.table((*head, *losses, 'seconds'), body)}\n\n"
        f"Time of the rounds, including evaluations: {total:.1f} s in total, "
        f"{total / len(rounds):.1f} s per round on average.{note}"
    )


def _picks(picks: Sequence[workdir.Pick]) -> str:
    counts = collections.Counter(
        (pick.round, pick.side, pick.acquisition, pick.checkpoint) for pick in picks
    )
    if not counts:
        return ""
    note = "Checkpoints are named round/iteration."
    if any(pick.checkpoint.startswith("predictor/") for pick in picks):
        note = (
            "Checkpoints are named round/iteration; predictor/2 is the loss predictor "
            "of iteration 2 of Algorithm 2."
        )
    head = ("used from round", "pool", "acquisition", "checkpoint", "picks")
    body = [
        (number, side, acquisition, checkpoint or "-", count)
        for (number, side, acquisition, checkpoint), count in counts.items()
    ]
    return (
        f"## Picks\n\n{markdown.table(head, body)}\n\n"
        f"{note} {workdir.PICKS} lists every pick with its score."
    )


def _classes(rounds: Sequence[Row]) -> str:
    counted = [row for row in rounds if row.get("labels_per_class")]
    if not any(sum(row["labels_per_class"].values()) for row in counted):
        return ""
    head = ("class", *(f"round {row['round']}" for row in counted))
    body = [
        (name, *(row["labels_per_class"].get(name, 0) for row in counted))
        for name in counted[-1]["labels_per_class"]
    ]
    return f"## Target labels per class\n\n{markdown.table(head, body)}"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
