"""Where the labels of a task are, counted and in words."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dact_jax.types import UNLABELED, Array, Task

_EACH = 5  # classes whose counts are listed one by one
_LISTED = 12  # names that a line spells out


class Counts(NamedTuple):
    """Labelled target images of each class."""

    pool: np.ndarray  # int64[K], that can be trained on: given or for sale
    given: np.ndarray  # int64[K], of these: whose labels are given at the start
    val: np.ndarray  # int64[K]
    test: np.ndarray  # int64[K]; zeros where the pool tests


def count(task: Task, given: np.ndarray) -> Counts:
    """Counts the labels of the target's parts.

    Args:
      given: bool[N_t], images whose labels are given at the start.
    """
    target, size = task.target, len(task.class_names)
    pool = np.asarray(target.train.label)
    test = pool[:0] if target.test is target.train else target.test.label
    return Counts(
        _each(pool, size),
        _each(pool[given], size),
        _each(target.val.label, size),
        _each(test, size),
    )


def lines(task: Task, given: np.ndarray, *, num_hidden: int | None = None) -> list[str]:
    """Sentences that say where each label of the target went, for a person.

    Args:
      given: bool[N_t], images whose labels are given at the start.
      num_hidden: labels of the pool that the data hold and that are not read, if a
        person is asked for labels; None: the data reveal them.
    """
    target, names = task.target, [_shown(name) for name in task.class_names]
    counts = count(task, given)
    on_pool = target.test is target.train
    parts = [target.train, target.val] + ([] if on_pool else [target.test])
    images = sum(len(part.label) for part in parts)
    labelled = int(counts.pool.sum() + counts.val.sum() + counts.test.sum())
    text = [
        f"Source {_shown(task.source.name)}: {len(task.source.train.label)} images to "
        f"train on, all labeled, of {len(names)} classes."
    ]
    if num_hidden is not None:
        return text + _asked(task, counts, num_hidden)
    text.append(
        f"Target {_shown(target.name)}: {labelled} of {images} images have a label. "
        + _sentence(counts, names, on_pool)
    )
    if images > labelled:
        text.append(
            f"The other {images - labelled} are adapted to, but cannot be bought."
        )
    everywhere = counts.pool + counts.val + counts.test
    lost = np.flatnonzero((counts.pool == 0) & (everywhere > 0))
    if lost.size:
        held = [
            f"{names[k]} ({counts.test[k]} test, {counts.val[k]} validation)"
            for k in lost
        ]
        text.append(
            f"{_classes(lost.size)} without an image in the training pool, since "
            f"test and validation took all: {_some(held)}."
        )
    untested = np.flatnonzero((counts.test == 0) & (everywhere > 0))
    if counts.test.any() and untested.size:
        text.append(
            f"{_classes(untested.size)} without a test image: "
            f"{_some([names[k] for k in untested])}."
        )
    return text


def _asked(task: Task, counts: Counts, num_hidden: int) -> list[str]:
    """The sentences on a target whose images a person labels."""
    target, names = task.target, [_shown(name) for name in task.class_names]
    pool = f"{len(target.train.label)} images in the training pool"
    if counts.given.any():
        pool += f", of which {_part(counts.given, names)} are labeled from the start"
    text = [
        f"Target {_shown(target.name)}: {pool}; {_part(counts.val, names)} labeled "
        f"ones for validation, {_part(counts.test, names)} for test.",
        "A person is asked for the labels that are bought (oracle=human).",
    ]
    if num_hidden:
        text.append(
            f"The {num_hidden} labels of the pool that the data hold are not read."
        )
    if not counts.test.any():
        measured = _measured(counts)
        text.append(f"Without test images, accuracy is {measured}.")
    return text


def _sentence(counts: Counts, names: Sequence[str], on_pool: bool) -> str:
    pool = f"{_part(counts.pool, names)} in the training pool"
    if counts.given.any():
        pool += f", of which {_part(counts.given, names)} are given at the start"
    parts = f"{pool}, {_part(counts.val, names)} for validation"
    if on_pool:
        return f"They are: {parts}; those of the pool that are not bought test."
    sentence = f"They are: {parts}, {_part(counts.test, names)} for test."
    if not counts.test.any():
        measured = _measured(counts)
        sentence += (
            f" Without test images, accuracy is {measured}; data.test_fraction, "
            "data.val_per_class and the data's own splits decide how many images test."
        )
    return sentence


def _measured(counts: Counts) -> str:
    return "known of validation images only" if counts.val.any() else "not known"


def _part(counts: np.ndarray, names: Sequence[str]) -> str:
    """A number of images, and how many of each class."""
    total = int(counts.sum())
    if not total or len(counts) == 1:
        return str(total)
    low, high = int(counts.min()), int(counts.max())
    if low == high:
        return f"{total} ({low} a class)"
    if len(counts) <= _EACH:
        each = (f"{name} {n}" for name, n in zip(names, counts.tolist(), strict=True))
        return f"{total} ({', '.join(each)})"
    return f"{total} ({low} to {high} a class)"


def _classes(number: int) -> str:
    return "1 class is" if number == 1 else f"{number} classes are"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f", and {more} more" if more > 0 else "")


def _shown(name: str) -> str:
    return name if name.isprintable() else repr(name)


def _each(label: Array, size: int) -> np.ndarray:
    known = np.asarray(label)
    return np.bincount(known[known != UNLABELED], minlength=size)
