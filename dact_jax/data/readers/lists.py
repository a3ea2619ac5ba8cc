"""List files: lines "path label", such as MME's."""

import os
import pathlib
from collections.abc import Iterable, Sequence

from dact_jax import errors
from dact_jax.data import entries as listed, text_files
from dact_jax.data.cache.room import Cache
from dact_jax.data.entries import Entry
from dact_jax.data.readers import decoding, files, links
from dact_jax.types import UNLABELED, Dataset


def load(
    path: str | pathlib.Path,
    *more: str | pathlib.Path,
    size: int,
    channels: int = 3,
    root: str | pathlib.Path | None = None,
    on_error: files.OnError = "raise",
    max_pixels: int = decoding.MAX_PIXELS,
    cache: Cache | None = None,
    classes: Sequence[str] | None = None,
    name: str | None = None,
) -> Dataset:
    """Reads a domain from files with lines such as "photo/dog/1.jpg 0".

    The label is the text after the last space: -1 (or what `entries.without_unknown`
    knows) for an unlabelled image, else a class name or, if this holds for every line,
    a class number. A number is the index
    of its class in `classes`. Without `classes` its class is named after the folder
    of its images, or, if folders and numbers do not correspond one to one, after the
    number itself.

    If every line of a file is the path of a file that exists, none has a label.

    Several files, such as MME's lists of labelled, unlabelled and validation images,
    are merged. An image that occurs in several must have the same label in all.

    Args:
      path: the first file.
      *more: further files.
      size: height and width of the decoded images, in pixels.
      channels: 1 or 3.
      root: folder that paths in the files are relative to; None: the first file's
        folder.
      on_error: what to do with an unreadable image: "raise" an error, or "skip": leave
        it out and name it.
      max_pixels: largest width times height of an image.
      cache: where decoded images are kept; None: nowhere.
      classes: class names in the order of their numbers; None: the classes that occur,
        sorted by number or name.
      name: name of the domain; None: the first file's name without its suffix.

    Returns:
      A dataset whose ids are the paths, as `entries.locate` gives them.

    Raises:
      InputError: a file or an image is missing, a line has no label, a path occurs
        twice in one file, or a label is not valid; the message names file and line.
    """
    path = pathlib.Path(path)
    folder = pathlib.Path(root or path.parent)
    by_path: dict[str, Entry] = {}
    for file in (path, *more):
        for entry in _entries(pathlib.Path(file), folder, classes):
            first = by_path.setdefault(entry.path, entry)
            if first.label != entry.label:
                raise errors.InputError(
                    f"{entry.where}: {entry.path} has label {entry.label or '-1'}, but "
                    f"{first.label or '-1'} in {first.where}."
                )
    entries, class_names = _name_classes(list(by_path.values()), classes)
    return files.dataset(
        name or path.stem,
        folder,
        links.Found(
            [entry.path for entry in entries],
            listed.numbers(entries, class_names),
        ),
        class_names,
        size=size,
        channels=channels,
        on_error=on_error,
        max_pixels=max_pixels,
        cache=cache,
    )


def read_ids(
    path: str | pathlib.Path, *, root: str | pathlib.Path | None = None
) -> list[str]:
    """The paths in a list file, in order: the ids of the images in `load`.

    Raises:
      InputError: there is no such file, a line has no label, or a path occurs twice.
    """
    path = pathlib.Path(path)
    folder = pathlib.Path(root or path.parent)
    return [entry.path for entry in _entries(path, folder, None)]


def _entries(
    path: pathlib.Path, root: pathlib.Path, classes: Sequence[str] | None
) -> list[Entry]:
    lines = [
        (number, line)
        for number, line in enumerate(text_files.lines(text_files.read(path)), 1)
        if line.strip()
    ]
    if lines and all(_is_file(line, root) for _, line in lines):
        plain = ((f"{path}, line {number}", line.strip()) for number, line in lines)
        entries = [Entry(at, listed.locate(image, root), "", "") for at, image in plain]
        listed.check_paths(path, entries)
        return entries
    entries = []
    for number, line in lines:
        parts = line.rsplit(maxsplit=1)
        where = f"{path}, line {number}"
        if len(parts) < 2:
            raise errors.InputError(
                f"{where}: the line must be 'path label', not {line.strip()!r}; in a "
                "list without labels every line must be the path of a file that exists."
            )
        label = "" if parts[1] == str(UNLABELED) else parts[1]
        entries.append(Entry(where, listed.locate(parts[0].strip(), root), label, ""))
    listed.check_paths(path, entries)
    return listed.without_unknown(entries, classes)


def _is_file(line: str, root: pathlib.Path) -> bool:
    return os.path.isfile(root / listed.locate(line.strip(), root))


def _name_classes(
    entries: list[Entry], classes: Sequence[str] | None
) -> tuple[list[Entry], tuple[str, ...]]:
    """The entries with class names as labels, and the class names in order."""
    labels = {entry.label for entry in entries} - {""}
    if not all(label.isdecimal() for label in labels):
        return entries, tuple(classes or sorted(labels))
    if classes is None:
        names = _folders(entries)
        class_names = tuple(names[label] for label in listed.sort_labels(labels))
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
