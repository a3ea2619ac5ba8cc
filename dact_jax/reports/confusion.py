"""Which classes the final network takes for which: confusion.csv and its table."""

import csv
import io
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dact_jax import cells, errors, storage
from dact_jax.reports import intervals
from dact_jax.reports.sections import content
from dact_jax.reports.sections.content import Section, Table

FILE = "confusion.csv"
_SHOWN = 40  # classes in the report's table: all, or those of the lowest accuracy


class Confusion(NamedTuple):
    """The test images by true and predicted class."""

    class_names: tuple[str, ...]
    images: np.ndarray  # int[K, K], their number: a row for each true class


def count(
    predicted: np.ndarray, label: np.ndarray, class_names: Sequence[str]
) -> Confusion:
    """Counts the pairs of classes.

    Args:
      predicted: int[N], classes.
      label: int[N], true classes; all are known.
    """
    size = len(class_names)
    pairs = np.bincount(size * label.astype(np.int64) + predicted, minlength=size**2)
    return Confusion(tuple(class_names), pairs.reshape(size, size))


def write(folder: pathlib.Path, confusion: Confusion) -> None:
    """Writes confusion.csv: a row for each true class, a column for each predicted."""
    out = io.StringIO(newline="")
    table = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    names = list(confusion.class_names)
    table.writerow(cells.neutralize_row(["class", *names]))
    for name, row in zip(names, confusion.images.tolist(), strict=True):
        table.writerow(cells.neutralize_row([name, *row]))
    storage.write_atomic(folder / FILE, out.getvalue())


def read(folder: pathlib.Path) -> Confusion | None:
    """What confusion.csv holds; None if there is no such file.

    Raises:
      InputError: it is damaged.
    """
    path = folder / FILE
    records = list(csv.reader(io.StringIO(storage.read_text(path), newline="")))
    if not records:
        return None
    names = tuple(map(cells.restore, records[0][1:]))
    try:
        counts = np.array([[int(cell) for cell in row[1:]] for row in records[1:]])
    except ValueError:
        counts = np.empty(0, int)
    if counts.shape != (len(names), len(names)):
        raise errors.InputError(
            f"{path} is damaged: delete it and confusion_matrix.png; the same command "
            "makes both again."
        )
    return Confusion(names, counts)


def section(confusion: Confusion | None) -> Section | None:
    """The section on the accuracy of each class; None without counts."""
    if confusion is None:
        return None
    names, counts = confusion
    total, correct = counts.sum(1), np.diag(counts)
    order = np.arange(len(names))
    shown = "" if total.all() else "Classes without a test image have no accuracy. "
    if len(names) > _SHOWN:
        tested = np.flatnonzero(total)
        order = tested[np.argsort(correct[tested] / total[tested], kind="stable")]
        order = order[:_SHOWN]
        shown = f"The {len(order)} classes with the lowest accuracy are shown. "
    body = [_line(names, counts, int(k)) for k in order]
    head = ("class", "test images", "test %", "95 % interval", "most often taken for")
    return content.section(
        "Accuracy by class",
        Table(head, body),
        f"The final network on the test images of the target. {shown}Intervals are "
        f"Wilson's; they are wide where a class has few images. {FILE} has the number "
        "of images for each pair of a true class (row) and a predicted one (column).",
    )


def _line(names: Sequence[str], counts: np.ndarray, k: int) -> tuple[object, ...]:
    total = int(counts[k].sum())
    if not total:
        return names[k], 0, "-", "-", "-"
    share = counts[k, k] / total
    low, high = intervals.wilson(share, total)
    wrong = counts[k].copy()
    wrong[k] = 0
    rival = int(wrong.argmax())
    taken = f"{names[rival]} ({wrong[rival]})" if wrong[rival] else "-"
    interval = f"{100 * low:.1f} to {100 * high:.1f}"
    return names[k], total, content.percent(share), interval, taken
