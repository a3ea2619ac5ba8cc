"""CSV manifests, and list files with lines "path label"."""

import csv
import pathlib
import posixpath
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dact_jax import errors
from dact_jax.data.readers import files
from dact_jax.types import UNLABELED, Dataset

SPLITS = ("train", "val", "test")


class Entry(NamedTuple):
    """One image of a manifest or list file."""

    where: str  # file and line for error messages, such as "a.txt, line 3"
    path: str
    label: str  # as written; "" if there is none
    split: str


def load_csv(
    path: str | pathlib.Path,
    *,
    size: int,
    channels: int = 3,
    root: str | pathlib.Path | None = None,
    on_error: files.OnError = "raise",
    classes: Sequence[str] | None = None,
    name: str | None = None,
) -> Dataset:
    """Reads a domain from a CSV file with the columns path, label and optionally split.

    An empty label stands for an unlabelled image, an empty split for train. Other
    columns are ignored.

    Args:
      path: the file, UTF-8.
      size: height and width of the decoded images, in pixels.
      channels: 1 or 3.
      root: folder that paths in the file are relative to; None: the file's folder.
      on_error: what to do with an unreadable image: "raise" an error, or "skip": log
        it, leave it out and count it.
      classes: the valid labels, in the order of their numbers; None: all labels in
        the file, sorted (as numbers if all are numbers).
      name: name of the domain; None: the file's name without its suffix.

    Returns:
      A dataset whose ids are the paths as written.

    Raises:
      InputError: the file, a column or an image is missing, a path is repeated, or a
        label or split is not valid; the message names file and line.
    """
    path = pathlib.Path(path)
    entries, has_split = _csv_entries(path)
    _check_paths(path, entries)
    labels = {entry.label for entry in entries} - {""}
    class_names = tuple(classes or _sort_labels(labels))
    return files.dataset(
        name or path.stem,
        pathlib.Path(root or path.parent),
        [entry.path for entry in entries],
        _numbers(entries, class_names),
        class_names,
        size=size,
        channels=channels,
        on_error=on_error,
        split=[entry.split for entry in entries] if has_split else None,
    )


def load_list(
    path: str | pathlib.Path,
    *more: str | pathlib.Path,
    size: int,
    channels: int = 3,
    root: str | pathlib.Path | None = None,
    on_error: files.OnError = "raise",
    classes: Sequence[str] | None = None,
    name: str | None = None,
) -> Dataset:
    """Reads a domain from files with lines such as "photo/dog/1.jpg 0".

    The label is the text after the last space: -1 for an unlabelled image, else a
    class name or, if this holds for every line, a class number. A number is the index
    of its class in `classes`. Without `classes` its class is named after the folder
    of its images, or, if folders and numbers do not correspond one to one, after the
    number itself.

    Several files, such as MME's lists of labelled, unlabelled and validation images,
    are merged. An image that occurs in several must have the same label in all.

    Args:
      path: the first file, UTF-8.
      *more: further files.
      size: height and width of the decoded images, in pixels.
      channels: 1 or 3.
      root: folder that paths in the files are relative to; None: the first file's
        folder.
      on_error: what to do with an unreadable image: "raise" an error, or "skip": log
        it, leave it out and count it.
      classes: class names in the order of their numbers; None: the classes that occur,
        sorted by number or name.
      name: name of the domain; None: the first file's name without its suffix.

    Returns:
      A dataset whose ids are the paths as written.

    Raises:
      InputError: a file or an image is missing, a line has no label, a path occurs
        twice in one file, or a label is not valid; the message names file and line.
    """
    path = pathlib.Path(path)
    by_path: dict[str, Entry] = {}
    for file in (path, *more):
        for entry in _list_entries(pathlib.Path(file)):
            first = by_path.setdefault(entry.path, entry)
            if first.label != entry.label:
                raise errors.InputError(
                    f"{entry.where}: {entry.path} has label {entry.label or '-1'}, but "
                    f"{first.label or '-1'} in {first.where}."
                )
    entries, class_names = _name_classes(list(by_path.values()), classes)
    return files.dataset(
        name or path.stem,
        pathlib.Path(root or path.parent),
        [entry.path for entry in entries],
        _numbers(entries, class_names),
        class_names,
        size=size,
        channels=channels,
        on_error=on_error,
    )


def read_ids(path: str | pathlib.Path) -> list[str]:
    """The paths in a list file, in order: the ids of the images in `load_list`.

    Raises:
      InputError: there is no such file, a line has no label, or a path occurs twice.
    """
    return [entry.path for entry in _list_entries(pathlib.Path(path))]


def _csv_entries(path: pathlib.Path) -> tuple[list[Entry], bool]:
    """The entries, and whether the file has the column split."""
    reader = csv.DictReader(_lines(path))
    columns = reader.fieldnames or ()
    for column in ("path", "label"):
        if column not in columns:
            raise errors.InputError(
                f"{path} lacks the column {column!r}: its first line must be "
                f"path,label or path,label,split, not {','.join(columns)!r}."
            )
    entries = []
    for cells in reader:
        where = f"{path}, line {reader.line_num}"
        if None in cells or None in cells.values():
            raise errors.InputError(
                f"{where}: there must be {len(columns)} cells; quote a path that "
                "contains commas."
            )
        split = (cells.get("split") or "").strip() or "train"
        if split not in SPLITS:
            raise errors.InputError(
                f"{where}: split must be one of {', '.join(SPLITS)}, not {split!r}."
            )
        entries.append(Entry(where, cells["path"], cells["label"].strip(), split))
    return entries, "split" in columns


def _list_entries(path: pathlib.Path) -> list[Entry]:
    entries = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        parts = line.rsplit(maxsplit=1)
        where = f"{path}, line {number}"
        if len(parts) < 2:
            raise errors.InputError(
                f"{where}: the line must be 'path label', not {line.strip()!r}."
            )
        label = "" if parts[1] == "-1" else parts[1]
        entries.append(Entry(where, parts[0].strip(), label, "train"))
    _check_paths(path, entries)
    return entries


def _lines(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    except FileNotFoundError:
        raise errors.InputError(f"there is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise errors.InputError(f"{path} is not readable text: {error}.") from None


def _check_paths(file: pathlib.Path, entries: Iterable[Entry]) -> None:
    """Raises InputError if there is no entry, or a path is empty or occurs twice."""
    by_path: dict[str, Entry] = {}
    for entry in entries:
        if not entry.path:
            raise errors.InputError(f"{entry.where}: the path is empty.")
        first = by_path.setdefault(posixpath.normpath(entry.path), entry)
        if first is not entry:
            raise errors.InputError(
                f"{entry.where}: {entry.path} was already in {first.where}."
            )
    if not by_path:
        raise errors.InputError(f"{file} lists no images.")


def _name_classes(
    entries: list[Entry], classes: Sequence[str] | None
) -> tuple[list[Entry], tuple[str, ...]]:
    """The entries with class names as labels, and the class names in order."""
    labels = {entry.label for entry in entries} - {""}
    if not all(label.isdecimal() for label in labels):
        return entries, tuple(classes or sorted(labels))
    if classes is None:
        names = _folders(entries)
        class_names = tuple(names[label] for label in _sort_labels(labels))
    else:
        names = {str(k): name for k, name in enumerate(classes)}
        class_names = tuple(classes)
    names[""] = ""
    for entry in entries:
        if entry.label not in names:
            raise errors.InputError(
                f"{entry.where}: label {entry.label} must be one of "
                f"0..{len(class_names) - 1}."
            )
    named = [entry._replace(label=names[entry.label]) for entry in entries]
    return named, class_names


def _folders(entries: Iterable[Entry]) -> dict[str, str]:
    """Label number -> class name: the folder of the images with that number.

    If numbers and folders do not correspond one to one, each number is its own name.
    """
    folder: dict[str, str] = {}
    number: dict[str, str] = {}
    for entry in entries:
        if not entry.label:
            continue
        name = pathlib.PurePosixPath(entry.path).parent.name
        same_folder = folder.setdefault(entry.label, name) == name
        same_number = number.setdefault(name, entry.label) == entry.label
        if not (name and same_folder and same_number):
            return {entry.label: entry.label for entry in entries}
    return folder


def _sort_labels(labels: set[str]) -> list[str]:
    """Sorted as numbers if all are numbers, else as strings."""
    if all(label.isdecimal() for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def _numbers(entries: Iterable[Entry], class_names: Sequence[str]) -> list[int]:
    """The class number of each entry, UNLABELED without a label."""
    number = {name: k for k, name in enumerate(class_names)}
    number[""] = UNLABELED
    for entry in entries:
        if entry.label not in number:
            raise errors.InputError(
                f"{entry.where}: there is no class {entry.label!r}; "
                f"{errors.suggestion(entry.label, class_names)}"
            )
    return [number[entry.label] for entry in entries]
