"""Lists of images: CSV manifests, and list files of lines "path label"."""

import csv
import pathlib
import posixpath
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dact_jax import errors
from dact_jax.data import files
from dact_jax.types import UNLABELED, Dataset

SPLITS = ("train", "val", "test")


class Row(NamedTuple):
    where: str  # "file, line 3", for messages
    path: str
    label: str  # a class name; "" where there is none
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
    """A domain from a CSV file with the columns path, label and, if wanted, split.

    No label means that nobody has labelled the image, no split means train. Other
    columns do not count.

    Args:
      path: the file, UTF-8.
      size: pixels; decoded images are size x size.
      channels: 1 or 3.
      root: the folder that the file's paths start from; None: the file's own.
      on_error: of an unreadable image: "raise", or "skip", log and count it.
      classes: the allowed labels in order; None: all labels found, in order.
      name: of the domain; None: the file's name without its ending.

    Returns:
      A dataset whose ids are the paths as written.

    Raises:
      InputError: no such file, column or image; a repeated path; a label or split
        that is not allowed; the message names file and line.
    """
    path = pathlib.Path(path)
    rows, has_split = _csv_rows(path)
    _check_paths(rows)
    class_names = tuple(classes or _in_order({row.label for row in rows} - {""}))
    return files.dataset(
        name or path.stem,
        pathlib.Path(root or path.parent),
        [row.path for row in rows],
        _numbers(rows, class_names),
        class_names,
        size=size,
        channels=channels,
        on_error=on_error,
        split=[row.split for row in rows] if has_split else None,
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
    """A domain from files whose lines end in a label: "photo/dog/1.jpg 0".

    What follows the last blank is a class name or, in all lines, a number: of the
    given `classes`, or else of the class named as the folder that its images lie in,
    or as the number where folders and numbers do not go one with one. -1 stands for
    no label. Several files (as the labelled, unlabelled and validation lists of MME)
    are united; an image that is in two must have one label.

    Args:
      path: a file, UTF-8.
      *more: further files.
      size: pixels; decoded images are size x size.
      channels: 1 or 3.
      root: the folder that the paths start from; None: that of the first file.
      on_error: of an unreadable image: "raise", or "skip", log and count it.
      classes: all classes in order; None: those found, by number or name.
      name: of the domain; None: the first file's name without its ending.

    Returns:
      A dataset whose ids are the paths as written.

    Raises:
      InputError: no such file or image; a line without a label; a path twice in one
        file; a label that is not allowed; the message names file and line.
    """
    path = pathlib.Path(path)
    rows: dict[str, Row] = {}
    for file in (path, *more):
        for row in _list_rows(pathlib.Path(file)):
            if rows.setdefault(row.path, row).label != row.label:
                raise errors.InputError(
                    f"{row.where}: {row.path} has label {row.label}, but "
                    f"{rows[row.path].label} in {rows[row.path].where}"
                )
    named, class_names = _named(list(rows.values()), classes)
    return files.dataset(
        name or path.stem,
        pathlib.Path(root or path.parent),
        [row.path for row in named],
        _numbers(named, class_names),
        class_names,
        size=size,
        channels=channels,
        on_error=on_error,
    )


def read_ids(path: str | pathlib.Path) -> list[str]:
    """The paths of a list file, in order; they are the ids that `load_list` gives.

    Raises:
      InputError: no such file, a line without a label or a path twice.
    """
    return [row.path for row in _list_rows(pathlib.Path(path))]


def _csv_rows(path: pathlib.Path) -> tuple[list[Row], bool]:
    """The rows, and whether there is a column split."""
    reader = csv.DictReader(_lines(path))
    columns = reader.fieldnames or ()
    for column in ("path", "label"):
        if column not in columns:
            raise errors.InputError(
                f"{path} lacks the column {column!r}: its first line must be "
                f"path,label or path,label,split, not {','.join(columns)!r}"
            )
    rows = []
    for cells in reader:
        where = f"{path}, line {reader.line_num}"
        if None in cells or None in cells.values():
            raise errors.InputError(
                f"{where}: {len(columns)} cells are needed; quote a path with commas"
            )
        split = (cells.get("split") or "").strip() or "train"
        if split not in SPLITS:
            raise errors.InputError(
                f"{where}: split must be one of {', '.join(SPLITS)}, not {split!r}"
            )
        rows.append(Row(where, cells["path"], cells["label"].strip(), split))
    return rows, "split" in columns


def _list_rows(path: pathlib.Path) -> list[Row]:
    rows = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        parts = line.rsplit(maxsplit=1)
        where = f"{path}, line {number}"
        if len(parts) < 2:
            raise errors.InputError(
                f"{where}: must be 'path label', not {line.strip()!r}"
            )
        label = "" if parts[1] == "-1" else parts[1]
        rows.append(Row(where, parts[0].strip(), label, "train"))
    _check_paths(rows)
    return rows


def _lines(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    except FileNotFoundError:
        raise errors.InputError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise errors.InputError(f"{path} is not a readable text: {error}") from None


def _check_paths(rows: Iterable[Row]) -> None:
    """Raises InputError where a path is empty or comes twice."""
    seen: dict[str, Row] = {}
    for row in rows:
        if not row.path:
            raise errors.InputError(f"{row.where}: the path is empty")
        first = seen.setdefault(posixpath.normpath(row.path), row)
        if first is not row:
            raise errors.InputError(
                f"{row.where}: {row.path} was already in {first.where}"
            )
    if not seen:
        raise errors.InputError("the list names no images")


def _named(
    rows: list[Row], classes: Sequence[str] | None
) -> tuple[list[Row], tuple[str, ...]]:
    """The rows with class names for labels, and the names in order."""
    labels = {row.label for row in rows} - {""}
    if not all(label.isdecimal() for label in labels):
        return rows, tuple(classes or sorted(labels))
    if classes is None:
        names = _folders(rows)
        class_names = tuple(names[label] for label in _in_order(labels))
    else:
        names = {str(k): name for k, name in enumerate(classes)}
        class_names = tuple(classes)
    names[""] = ""
    for row in rows:
        if row.label not in names:
            raise errors.InputError(
                f"{row.where}: label {row.label} is none of 0..{len(class_names) - 1}"
            )
    return [row._replace(label=names[row.label]) for row in rows], class_names


def _folders(rows: Iterable[Row]) -> dict[str, str]:
    """Label number -> name of the folder of its images, or itself.

    Where numbers and folders do not go one with one, a number is its own name.
    """
    folder: dict[str, str] = {}
    number: dict[str, str] = {}
    for row in rows:
        if not row.label:
            continue
        name = pathlib.PurePosixPath(row.path).parent.name
        same = folder.setdefault(row.label, name) == name
        if not name or not same or number.setdefault(name, row.label) != row.label:
            return {row.label: row.label for row in rows}
    return folder


def _in_order(labels: set[str]) -> list[str]:
    """By number if all are numbers, else by name."""
    if all(label.isdecimal() for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def _numbers(rows: Iterable[Row], class_names: Sequence[str]) -> list[int]:
    """The class number of each row."""
    number = {name: k for k, name in enumerate(class_names)}
    number[""] = UNLABELED
    for row in rows:
        if row.label not in number:
            raise errors.InputError(
                f"{row.where}: there is no class {row.label!r}; "
                f"{errors.suggestion(row.label, class_names)}"
            )
    return [number[row.label] for row in rows]
