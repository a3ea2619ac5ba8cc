"""The images that a manifest or list file names, with their labels as written."""

import os
import pathlib
import posixpath
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dact_jax import errors
from dact_jax.types import UNLABELED

LONGEST = 255  # characters of a label
_UNKNOWN = ("", "?", "nan", "NaN", "<NA>")  # what programs write where nothing is known
_UNCLEAR = ("None", "null", "NULL", "NA", "N/A", "n/a")  # unknown, or a class
_NEGATIVE = str(UNLABELED)


class Entry(NamedTuple):
    """One image of a manifest or list file."""

    where: str  # file and line for error messages, such as "a.txt, line 3"
    path: str
    label: str  # as written; "" if there is none
    split: str  # "train", "val" or "test"; "" if the file does not say


def locate(path: str, root: pathlib.Path) -> str:
    """The path of an image below root, with slashes and without blanks around it.

    Backslashes and blanks that belong to the name of an existing file stay.
    """
    plain = path.strip().replace("\\", "/")
    if plain == path or os.path.exists(root / path):
        return path
    return plain if os.path.exists(root / plain) else path


def without_unknown(
    entries: Sequence[Entry], classes: Sequence[str] | None
) -> list[Entry]:
    """The entries, with the label "" where the one written means that none is known.

    "?", "nan" and "<NA>" mean it always, "None", "null", "NA" and -1 if `classes` has
    no class of that name. -1 beside at least two other numbers means it too; beside
    names it is unclear.

    Raises:
      InputError: a label may mean either, or is longer than 255 characters.
    """
    written = {entry.label for entry in entries} - {*_UNKNOWN, _NEGATIVE}
    numbered = len(written) > 1 and all(label.isdecimal() for label in written)
    unknown = {*_UNKNOWN}
    if classes is not None:
        unknown |= {*_UNCLEAR, _NEGATIVE}
    elif numbered:
        unknown |= {_NEGATIVE}
    unknown -= {*(classes or ())}
    unclear = {*_UNCLEAR} if classes is None else set()
    if classes is None and any(not label.isdecimal() for label in written - unclear):
        unclear |= {_NEGATIVE}
    for entry in entries:
        if entry.label in unclear:
            raise errors.InputError(_may_be_either(entry.where, entry.label))
        if len(entry.label) > LONGEST:
            raise errors.InputError(
                f"{entry.where}: the label has {len(entry.label)} characters, more "
                f"than {LONGEST}."
            )
    return [
        entry._replace(label="") if entry.label in unknown else entry
        for entry in entries
    ]


def is_labelled(where: str, label: str) -> bool:
    """Whether a cell holds a label, in a table whose classes nobody asks for.

    Args:
      where: file and line for the error message.
      label: as written; -1 means that none is known.

    Raises:
      InputError: it may mean either.
    """
    label = label.strip()
    if label in _UNCLEAR:
        raise errors.InputError(_may_be_either(where, label))
    return label not in (*_UNKNOWN, _NEGATIVE)


def _may_be_either(where: str, label: str) -> str:
    return (
        f"{where}: {label!r} may be a class or an unknown label: leave the cell empty "
        "if nobody has labelled the image, else give the class another name."
    )


def check_paths(file: pathlib.Path, entries: Iterable[Entry]) -> None:
    """Raises InputError if there is no entry, or a path is empty or occurs twice."""
    by_path: dict[str, Entry] = {}
    for entry in entries:
        if not entry.path.strip():
            raise errors.InputError(f"{entry.where}: the path is empty.")
        first = by_path.setdefault(posixpath.normpath(entry.path), entry)
        if first is not entry:
            raise errors.InputError(
                f"{entry.where}: {entry.path} was already in {first.where}."
            )
    if not by_path:
        raise errors.InputError(f"{file} lists no images.")


def sort_labels(labels: set[str]) -> list[str]:
    """Sorted as numbers if all are numbers, else as strings."""
    if all(label.isdecimal() for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def numbers(entries: Iterable[Entry], class_names: Sequence[str]) -> list[int]:
    """The class number of each entry, UNLABELED without a label.

    Raises:
      InputError: a label is no class; the message names its line.
    """
    number = {name: k for k, name in enumerate(class_names)}
    number[""] = UNLABELED
    for entry in entries:
        if entry.label not in number:
            raise errors.InputError(
                f"{entry.where}: there is no class {entry.label!r}; "
                f"{errors.suggestion(entry.label, class_names)}"
            )
    return [number[entry.label] for entry in entries]
