"""What a pass over many images came to: counts, accuracies, sentences."""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dact_jax import errors
from dact_jax.classifier import Classifier
from dact_jax.data import left_out
from dact_jax.data.readers import sources
from dact_jax.prediction.calibration import Calibration
from dact_jax.prediction.pool import Pool
from dact_jax.prediction.sorting import Sorted
from dact_jax.reports import intervals
from dact_jax.rounds import workdir
from dact_jax.types import UNLABELED, LeftOut

_LISTED = 12  # classes that a line counts


class Share(NamedTuple):
    """How many of some images with a known label are right."""

    right: int
    of: int

    def __str__(self) -> str:
        share = self.right / self.of
        low, high = intervals.wilson(share, self.of)
        return (
            f"{self.right} of {self.of} are right, {100 * share:.1f} % (95 % "
            f"interval {100 * low:.1f} to {100 * high:.1f} %)"
        )


class Counted(NamedTuple):
    """What a pass came to, for N images."""

    label: np.ndarray  # int32[N]; UNLABELED without a label
    guess: np.ndarray  # int32[N], the most likely class; UNLABELED if unreadable
    unreadable: tuple[LeftOut, ...]
    seconds: float


def norm(classifier: Classifier) -> str:
    """Which batch norm images pass, as a sentence."""
    config = classifier.config
    if not jax.tree.leaves(classifier.variables.norm):
        return "The network has no batch norm."
    if config.model.num_norms == 1:
        return "Source and target have one batch norm."
    return (
        f"Images pass the batch norm of the {config.eval.branch} "
        f"(eval.branch={config.eval.branch})."
    )


def trained_on(pool: Pool, folder: pathlib.Path, classifier: Classifier) -> np.ndarray:
    """bool[N], images whose label the network was trained on, by picks.csv.

    Files are told by their path, other images by their name.
    """
    assert classifier.origin is not None
    last = classifier.origin.round
    picks = workdir.read_picks(folder)
    picked = [p.id for p in picks if p.side == "target" and p.round <= last]
    if pool.files is None:
        return np.isin(pool.id, np.array(picked, str))
    data = classifier.config.data
    if not data.target or not sources.are_files(data.target):
        return np.zeros(len(pool.id), bool)
    target = pathlib.Path(data.target)
    root = target.resolve().parent if target.is_dir() else target.parent
    root = pathlib.Path(data.root) if data.root and not target.is_dir() else root
    used = {os.path.realpath(root / id) for id in picked}
    return np.array([os.path.realpath(path) in used for path in pool.files], bool)


def lines(
    pool: Pool,
    counted: Counted,
    names: Sequence[str],
    *,
    abstain: float,
    trained: np.ndarray,
) -> Iterator[str]:
    """What to tell a user of the labels."""
    read = counted.guess != UNLABELED
    numbers = np.bincount(counted.label[counted.label != UNLABELED])
    most = np.argsort(-numbers, kind="stable")[:_LISTED]
    shown = [f"{errors.printable(names[k])} {numbers[k]}" for k in most if numbers[k]]
    more = np.count_nonzero(numbers) - len(shown)
    tail = f", and {more} more classes" if more > 0 else ""
    yield f"Labels: {', '.join(shown) or 'none'}{tail}."
    if abstain:
        unsure = int((read & (counted.label == UNLABELED)).sum())
        share = 100 * unsure / max(int(read.sum()), 1)
        yield (
            f"Abstained: {unsure} of {int(read.sum())} images ({share:.1f} %) have a "
            f"confidence below {abstain:g}; their label is empty."
        )
    yield from _accuracy_lines(pool, counted, trained, abstains=bool(abstain))
    for what, files in (
        ("Unreadable", counted.unreadable),
        ("No images", [file for file in pool.left_out if not file.damaged]),
    ):
        if files:
            yield f"{what}: {left_out.count(files)}; the output gives the reasons."
            yield from (f"  {line}" for line in left_out.listed(files))


def _accuracy_lines(
    pool: Pool, counted: Counted, trained: np.ndarray, *, abstains: bool
) -> Iterator[str]:
    known = (pool.label != UNLABELED) & (counted.guess != UNLABELED)
    if not known.any():
        return
    yield f"Accuracy where a label is known: {_share(pool, counted, known)}."
    if abstains and (sure := known & (counted.label != UNLABELED)).any():
        yield f"  of those that got a label: {_share(pool, counted, sure)}."
    if (known & trained).any() and (others := known & ~trained).any():
        yield (
            f"  without the {int((known & trained).sum())} images whose label the run "
            f"was trained on: {_share(pool, counted, others)}."
        )


def _share(pool: Pool, counted: Counted, rows: np.ndarray) -> Share:
    right = (counted.guess == pool.label) & rows
    return Share(int(right.sum()), int(rows.sum()))


def sorted_line(folder: pathlib.Path, found: Sorted) -> str:
    """What was sorted into a folder, as a sentence."""
    form = f"{found.links} links" if found.links or not found.copies else ""
    if found.copies:
        copies = f"{found.copies} copies, where no link can be made"
        form = f"{form} and {copies}" if form else copies
    renamed = [
        f"{errors.printable(name)} is {errors.printable(to)}"
        for name, to in found.renamed.items()
    ]
    more = f" and {len(renamed) - _LISTED} more" if len(renamed) > _LISTED else ""
    named = f"; as folders, {', '.join(renamed[:_LISTED])}{more}" if renamed else ""
    return (
        f"Sorted into {errors.printable(folder)}: {form}, {found.unsure} of them in "
        f"_unsure{named}."
    )


def about(
    classifier: Classifier,
    pool: Pool,
    counted: Counted,
    calibration: Calibration | None,
) -> dict[str, Any]:
    """What is kept beside the table, to be read by programs."""
    assert classifier.origin is not None
    read = counted.guess != UNLABELED
    known = read & (pool.label != UNLABELED)
    right = int((counted.guess == pool.label)[known].sum())
    return {
        "network": classifier.origin._asdict(),
        "norm": classifier.config.eval.branch,
        "backbone": classifier.backbone.identity if classifier.backbone else None,
        "classes": list(classifier.class_names),
        "calibration": calibration and calibration._asdict(),
        "predicted": int(read.sum()),
        "abstained": int((read & (counted.label == UNLABELED)).sum()),
        "unreadable": len(counted.unreadable),
        "known_labels": int(known.sum()),
        "right": right if known.any() else None,
    }
