"""The classes that a user chooses among those of two domains (`data.classes`)."""

import csv
from collections.abc import Sequence

import numpy as np

from dact_jax import errors
from dact_jax.data.readers import files
from dact_jax.types import UNLABELED, Dataset

_LISTED = 5  # classes that a note names


def parse(text: str) -> tuple[str, ...]:
    """The names in a text such as "mug, cup": a name with a comma stands in quotes.

    Raises:
      InputError: a name is empty or occurs twice.
    """
    if not text.strip():
        return ()
    (cells,) = csv.reader([text], skipinitialspace=True)
    names = tuple(cell.strip() for cell in cells)
    for name in names:
        if not name or names.count(name) > 1:
            fault = f"{name!r} twice" if name else "an empty name"
            raise errors.InputError(
                f"data.classes={text!r} has {fault}: write each class once, between "
                "commas, such as mug,cup."
            )
    return names


def of_source(data: Dataset, names: Sequence[str]) -> Dataset:
    """The source with the chosen classes alone, numbered in their order.

    Raises:
      InputError: it lacks one of them.
    """
    for name in names:
        if name not in data.class_names:
            raise errors.InputError(
                f"data.classes names {name!r}, which is no class of source "
                f"{errors.printable(data.name)}; "
                f"{errors.suggestion(name, data.class_names)}"
            )
    other = _is_other(data, names)
    note = f"{_images(data, other)} that data.classes does not name are left out of"
    chosen = _rows(_numbered(data, names), ~other)
    return _noted(chosen, f"{note} {errors.printable(data.name)}.", other)


def of_target(data: Dataset, names: Sequence[str]) -> Dataset:
    """The target with labels of the chosen classes alone.

    An image of another class counts as unlabelled: to leave it out of the pool would
    use a label that nobody has bought. It cannot test, and is left out of such parts.
    """
    other = _is_other(data, names)
    tests = np.zeros_like(other)
    if data.split is not None:
        tests = other & np.isin(data.split, ("val", "test"))
    note = (
        f"{_images(data, other)} that data.classes does not name count as unlabelled "
        f"in {errors.printable(data.name)}"
    )
    if tests.any():
        note += f", and {int(tests.sum())} of them, named val or test, are left out"
    chosen = _rows(_numbered(data, names), ~tests)
    return _noted(chosen, f"{note}.", other)


def _is_other(data: Dataset, names: Sequence[str]) -> np.ndarray:
    """bool[N], images with the label of a class that is not chosen."""
    others = [k for k, name in enumerate(data.class_names) if name not in names]
    return np.isin(data.label, others)


def _numbered(data: Dataset, names: Sequence[str]) -> Dataset:
    """The domain with labels by the chosen names, UNLABELED for the others."""
    number = {name: k for k, name in enumerate(names)}
    new = [number.get(name, UNLABELED) for name in data.class_names]
    label = np.array([*new, UNLABELED], np.int32)[data.label]
    return data._replace(label=label, class_names=tuple(names))


def _rows(data: Dataset, keep: np.ndarray) -> Dataset:
    """The images in the rows of bool[N] that are True."""
    if keep.all():
        return data
    paths = data.files
    return data._replace(
        image=files.take(data.image, keep),
        label=data.label[keep],
        id=data.id[keep],
        split=None if data.split is None else data.split[keep],
        files=paths and tuple(paths[row] for row in np.flatnonzero(keep)),
    )


def _images(data: Dataset, other: np.ndarray) -> str:
    """How many images, and of which classes, such as "12 images of lamp, chair"."""
    present = np.unique(data.label[other]).tolist()
    named = [errors.printable(data.class_names[k]) for k in present[:_LISTED]]
    more = len(present) - _LISTED
    tail = f" and {more} more" if more > 0 else ""
    return f"{int(other.sum())} images of classes ({', '.join(named)}{tail})"


def _noted(data: Dataset, note: str, other: np.ndarray) -> Dataset:
    return data._replace(notes=(*data.notes, note)) if other.any() else data
