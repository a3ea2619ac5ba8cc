"""The Markdown report of a run, written from the files in its folder alone."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dact_jax import errors, storage
from dact_jax.data import left_out
from dact_jax.reports import (
    asking,
    captions,
    comparison,
    confusion,
    curves,
    ledger,
    markdown,
    round_tables,
)
from dact_jax.reports.curves import Reference
from dact_jax.reports.pictures import png
from dact_jax.rounds import answers, workdir
from dact_jax.types import Row


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
        f"# {markdown.escape(title)}",
        _summary(rounds),
        _labels(labels),
        _pretraining(rows),
        _learning_curve(rows, rounds, published, files.curve),
        _source_curve(rows, rounds, folder),
        ledger.costs(rows, keep=keep),
        asking.ledger(workdir.read_picks(folder), answers.read(folder)),
        ledger.decisions(rows),
        round_tables.rounds(rounds, train),
        confusion.section(confusion.read(folder)),
        round_tables.networks(rows, rounds),
        round_tables.picks(workdir.read_picks(folder)),
        round_tables.classes(rounds),
        comparison.section(rounds, published),
        ledger.unused_files(left_out.read(folder)),
        *_pictures(folder),
        f"## Repeat or resume\n\n{markdown.code(command, 'bash')}" if command else "",
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
        if last["val_accuracy"] is not None:
            text += (
                f"; with {last['labels_target']} target labels bought, the accuracy on "
                f"validation images is {markdown.percent(last['val_accuracy'])} %"
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
    block = markdown.code("\n".join(lines), "text")
    return f"## Where the labels are\n\n{block}"


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
        counts = {name: rounds[-1].get(name) for name in ("test_images", "labels_val")}
        points = [*({**row, **counts} for row in evaluations), *rounds]
        drawing = curves.by_iteration(points, _baseline(rows, rounds))
        quantity = "iterations"
    else:
        drawing = curves.by_labels(rounds, published, _baseline(rows, rounds))
        quantity = "target labels bought"
    if drawing is None:
        return ""
    png.save(drawing, path, dpi=150)
    return (
        f"![Accuracy against {quantity}]({path.name})\n\nA vertical bar is the 95 % "
        "interval (Wilson's) that the number of images leaves for an accuracy; it does "
        "not hold the spread over seeds."
    )


def _baseline(rows: Sequence[Row], rounds: Sequence[Row]) -> curves.Baseline | None:
    """The accuracy of the source alone or, where it was not measured, of guessing."""
    pretrained = [row for row in rows if row["event"] == "pretrain"]
    if pretrained and pretrained[-1]["test_accuracy"] is not None:
        return curves.Baseline("test, source only", pretrained[-1]["test_accuracy"])
    num_classes = len(rounds[-1].get("labels_per_class") or ())
    return curves.Baseline("guessing", 1 / num_classes) if num_classes else None


def _source_curve(
    rows: Sequence[Row], rounds: Sequence[Row], folder: pathlib.Path
) -> str:
    """A curve if the number of source samples varied, otherwise that number."""
    sizes = {row["source_samples"] for row in rounds}
    decisions = [
        {**row, "labels_val": rounds[-1]["labels_val"]}
        for row in rows
        if "accuracy_source" in row
    ]
    if len(sizes) > 1 or decisions:
        drawing = curves.by_source(rounds, decisions)
        if drawing is None:
            return ""
        path = folder / "source_curve.png"
        png.save(drawing, path, dpi=150)
        paragraphs = [f"![Accuracy against source samples]({path.name})"]
        if decisions:
            paragraphs.append(
                "In each decision Algorithm 2 compares two copies of the loss "
                "predictor on the validation images: one is trained further on the "
                "source samples chosen so far, the other on the target labels bought "
                "so far. The markers without a line are the adapted classifier, after "
                "each round."
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


def shows_all(folder: pathlib.Path) -> bool:
    """Whether report.md shows every picture of `captions` in the folder.

    A run that is killed after it drew pictures leaves a report without them.
    """
    text = storage.read_text(folder / "report.md")
    drawn = [name for name in captions.CAPTIONS if (folder / name).exists()]
    return all(f"]({name})" in text for name in drawn)
