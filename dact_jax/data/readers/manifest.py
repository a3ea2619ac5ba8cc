"""Manifests: tables with a path, a label and, if wanted, a split for each image."""

import os
import pathlib
from collections.abc import Sequence

from dact_jax import errors
from dact_jax.data import entries as listed, tables
from dact_jax.data.cache.room import Cache
from dact_jax.data.entries import Entry
from dact_jax.data.readers import decoding, files, links
from dact_jax.types import Dataset

# What a column may be called, in any case; the first name wins where several occur.
_COLUMNS = {
    "path": ("path", "filename", "file_name", "filepath", "file_path", "file"),
    "label": ("label", "class", "class_name", "category"),
    "split": ("split",),
}
_SPLITS = {
    "": "",
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_HEADER = "path,label or path,label,split"


def load_csv(
    path: str | pathlib.Path,
    *,
    size: int,
    channels: int = 3,
    root: str | pathlib.Path | None = None,
    on_error: files.OnError = "raise",
    max_pixels: int = decoding.MAX_PIXELS,
    cache: Cache | None = None,
    classes: Sequence[str] | None = None,
    others: bool = False,
    name: str | None = None,
) -> Dataset:
    """Reads a domain from a table with the columns path, label and optionally split.

    An empty label, or what `entries.without_unknown` knows, stands for an unlabelled
    image. An image whose split is empty may be held out for validation or test.
    Columns have one of the names in `_COLUMNS`; others are ignored. With `classes`, as
    a target has them, the file may have a path (and a split) alone: none has a label.

    Args:
      path: the file; see `text_files` and `tables` for its forms.
      size: height and width of the decoded images, in pixels.
      channels: 1 or 3.
      root: folder that paths in the file are relative to; None: the file's folder.
      on_error: what to do with an unreadable image: "raise" an error, or "skip": leave
        it out and name it.
      max_pixels: largest width times height of an image.
      cache: where decoded images are kept; None: nowhere.
      classes: the valid labels, in the order of their numbers; None: all labels in
        the file, sorted (as numbers if all are numbers).
      others: whether labels that are not in `classes` are further classes, not errors.
      name: name of the domain; None: the file's name without its suffix.

    Returns:
      A dataset whose ids are the paths, as `entries.locate` gives them.

    Raises:
      InputError: the file, a column or an image is missing, a path is repeated, or a
        label or split is not valid; the message names file and line.
    """
    path = pathlib.Path(path)
    folder = pathlib.Path(root or path.parent)
    entries = _entries(path, folder, may_lack_labels=classes is not None)
    listed.check_paths(path, entries)
    entries = listed.without_unknown(entries, classes)
    labels = {entry.label for entry in entries} - {""}
    class_names = tuple(classes or listed.sort_labels(labels))
    if others:
        class_names += tuple(listed.sort_labels(labels - {*class_names}))
    split = [entry.split for entry in entries]
    return files.dataset(
        name or path.stem,
        folder,
        links.Found(
            [entry.path for entry in entries],
            listed.numbers(entries, class_names),
            split if any(split) else None,
        ),
        class_names,
        size=size,
        channels=channels,
        on_error=on_error,
        max_pixels=max_pixels,
        cache=cache,
    )


def _entries(
    path: pathlib.Path, root: pathlib.Path, *, may_lack_labels: bool
) -> list[Entry]:
    is_header = _is_header_of_target if may_lack_labels else _is_header
    table = tables.read(path, is_header, header=_HEADER)
    image_column = _column(path, table.columns, "path")
    label_column = None
    if _find(table.columns, "label"):
        label_column = _column(path, table.columns, "label")
    split_column = None
    if _find(table.columns, "split"):
        split_column = _column(path, table.columns, "split")
    entries = []
    for row in table.rows:
        where = f"{path}, line {row.line}"
        _check_quotes(where, row.cells)
        image = row.cells[image_column]
        label = "" if label_column is None else row.cells[label_column].strip()
        _check_one_line(where, image, label, root)
        split = "" if split_column is None else _split(where, row.cells[split_column])
        entries.append(Entry(where, listed.locate(image, root), label, split))
    return entries


def _is_header(cells: Sequence[str]) -> bool:
    return all(_find(cells, meaning) for meaning in ("path", "label"))


def _is_header_of_target(cells: Sequence[str]) -> bool:
    """A header; it may lack the label if no other column could be meant by it."""
    known = [*_find(cells, "path"), *_find(cells, "split")]
    named = [i for i, cell in enumerate(cells) if cell.strip()]
    alone = bool(_find(cells, "path")) and {*known} == {*named}
    return alone or _is_header(cells)


def _find(columns: Sequence[str], meaning: str) -> list[int]:
    """Positions of the columns whose name has this meaning; the first name wins."""
    names = [column.strip().lower().replace(" ", "_") for column in columns]
    best = _COLUMNS[meaning][0]
    known = (best,) if best in names else _COLUMNS[meaning]
    return [i for i, name in enumerate(names) if name in known]


def _column(path: pathlib.Path, columns: Sequence[str], meaning: str) -> int:
    """The position of the one column with this meaning."""
    first, *others = _find(columns, meaning)
    if others:
        names = ", ".join(repr(columns[i]) for i in (first, *others))
        raise errors.InputError(
            f"{path}: the columns {names} may each be the {meaning}: call one of them "
            f"{meaning!r}, and the others differently."
        )
    return first


def _split(where: str, written: str) -> str:
    split = _SPLITS.get(written.strip().lower())
    if split is None:
        raise errors.InputError(
            f"{where}: split must be one of train, val, test, or empty, not "
            f"{written.strip()!r}."
        )
    return split


def _has_lines(text: str) -> bool:
    return "\n" in text or "\r" in text


def _check_quotes(where: str, cells: Sequence[str]) -> None:
    """Rejects cells whose quotes would become a part of the path or label."""
    for cell in cells:
        if cell != cell.lstrip() and cell.lstrip().startswith('"'):
            raise errors.InputError(
                f"{where}: there is a blank before a quote: remove the blank."
            )


def _check_one_line(where: str, image: str, label: str, root: pathlib.Path) -> None:
    """Rejects a cell that goes on in the next line, unless a file has such a name."""
    if _has_lines(label) or (_has_lines(image) and not os.path.exists(root / image)):
        raise errors.InputError(
            f'{where}: a quote (") is opened and closed in a later line: close it in '
            "this line, or remove it."
        )
