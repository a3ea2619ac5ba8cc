"""The Markdown report of a run, written from the files in its folder alone."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dact_jax import storage
from dact_jax.reports import asking, confusion, curves, markdown
from dact_jax.reports.curves import Reference
from dact_jax.reports.pictures import captions, png
from dact_jax.reports.record import Record
from dact_jax.reports.sections import content, ledger, published, round_tables
from dact_jax.reports.sections.content import Code, Section
from dact_jax.types import Row

FILE = "report.md"


class Files(NamedTuple):
    markdown: pathlib.Path
    curve: pathlib.Path


def put(record: Record) -> Files:
    """Writes report.md and its curves into the folder of the record.

    It shows the pictures of `captions` that exist in the folder.
    """
    files = Files(record.folder / FILE, record.folder / "learning_curve.png")
    rows, rounds = record.rows, record.rounds
    parts = [
        f"# {markdown.escape(record.title)}",
        _summary(rounds, record.precision),
        markdown.section(labels(record)),
        _pretraining(rows),
        _learning_curve(rows, rounds, record.published, files.curve),
        _source_curve(rows, rounds, record.folder),
        *map(markdown.section, sections(record)),
        *_pictures(record.folder),
        markdown.section(repeat(record)),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    storage.write_atomic(files.markdown, text)
    return files


def sections(record: Record) -> list[Section]:
    """The tables of a report, in its order."""
    rows, rounds = record.rows, record.rounds
    train = [row for row in rows if row["event"] == "train"]
    found = [
        ledger.costs(rows, keep=record.keep),
        asking.ledger(record.picks, record.answers),
        ledger.decisions(rows),
        round_tables.rounds(rounds, train),
        confusion.section(record.confusion),
        round_tables.networks(rows, rounds),
        round_tables.picks(record.picks),
        round_tables.classes(rounds),
        published.section(rounds, record.published),
        ledger.unused_files(record.left_out),
    ]
    return [section for section in found if section is not None]


def labels(record: Record) -> Section | None:
    """Where the labels are, line by line; class names in them are no markup."""
    if not record.labels:
        return None
    lines = Code("\n".join(record.labels), "text")
    return content.section("Where the labels are", lines)


def repeat(record: Record) -> Section | None:
    """The command that repeats the run, where it is known."""
    if not record.command:
        return None
    return content.section("Repeat or resume", Code(record.command, "bash"))


def _summary(rounds: Sequence[Row], precision: str) -> str:
    first, last = rounds[0], rounds[-1]
    if last["test_accuracy"] is None:
        text = (
            "No test image of the target has a label, so the test accuracy is unknown"
        )
        if last["val_accuracy"] is not None:
            text += (
                f"; with {last['labels_target']} target labels bought, the accuracy on "
                f"validation images is {content.percent(last['val_accuracy'])} %"
            )
    else:
        text = (
            f"With {last['labels_target']} target labels bought, the test accuracy on "
            f"the target is {content.percent(last['test_accuracy'])} %"
        )
        if len(rounds) > 1:
            text += (
                f"; in the first round, with {first['labels_target']} labels, "
                f"it was {content.percent(first['test_accuracy'])} %"
            )
    text += f". Rounds finished: {len(rounds)}."
    return f"{text} Trained in {precision}." if precision else text


def _pretraining(rows: Sequence[Row]) -> str:
    stages = [row for row in rows if row["event"] == "pretrain"]
    if not stages or stages[-1]["test_accuracy"] is None:
        return ""
    row = stages[-1]
    return (
        f"Before round 0, after {row['step']} iterations on the source alone, the test "
        f"accuracy was {content.percent(row['test_accuracy'])} %."
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
    text = storage.read_text(folder / FILE)
    drawn = [name for name in captions.CAPTIONS if (folder / name).exists()]
    return all(f"]({name})" in text for name in drawn)
