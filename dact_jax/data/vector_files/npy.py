"""Vectors in a .npy file [N, F], with text files beside it that name its rows.

`x.paths.txt` has the id of each row, `x.labels.txt` the name of its class (an empty
line: unlabelled) and `x.classes.txt` the names of the classes in their order. Where
x.npy is the only .npy file of its folder, paths.txt, labels.txt and classes.txt do too.
"""

import pathlib
import re
from collections.abc import Sequence

import numpy as np
from absl import logging

from dact_jax import array_files, errors, storage
from dact_jax.data import text_files
from dact_jax.data.vector_files.contents import (
    CLASSES,
    FEATURES,
    LABEL,
    PATH,
    Contents,
    Vectors,
)
from dact_jax.types import UNLABELED

_FILES = {PATH: "paths.txt", LABEL: "labels.txt", CLASSES: "classes.txt"}
_INTEGER = re.compile(r"\s*[+-]?\d+\s*")


def read(path: str | pathlib.Path) -> Contents:
    """The array, which stays on the disk, and the lines of the files beside it.

    Raises:
      InputError: a file is damaged, has not one line for each row, or labels are
        numbers without the names of the classes.
    """
    return beside(pathlib.Path(path), array_files.mapped(path))


def beside(path: pathlib.Path, features: np.ndarray) -> Contents:
    """An array with the lines of the files beside its own.

    Args:
      path: of the .npy file.
      features: [N, F].

    Raises:
      InputError: as `read`.
    """
    arrays, where = {FEATURES: features}, {FEATURES: str(path)}
    for name, file in _found(path).items():
        lines = text_files.lines(text_files.read(file))
        if lines[-1] == "":
            lines.pop()
        if name != CLASSES and len(lines) != len(features):
            raise errors.InputError(
                f"{file} must have one line for each of the {len(features)} rows of "
                f"{path}; it has {len(lines)}."
            )
        arrays[name] = np.array(lines, str)
        where[name] = str(file)
    naming = f"write their names, one a line, to {_own(path, CLASSES)}"
    if LABEL in arrays and CLASSES not in arrays:
        _check_labels(arrays[LABEL], where[LABEL], naming)
    return Contents(arrays, where, naming)


def write(path: pathlib.Path, vectors: Vectors) -> list[pathlib.Path]:
    """Writes the array and the files beside it; the paths of all, the array last."""
    lines: dict[str, Sequence[str]] = {PATH: vectors.path.tolist()}
    if (vectors.label != UNLABELED).any():
        names = np.array([*vectors.class_names, ""])  # "": that of UNLABELED, -1
        lines |= {LABEL: names[vectors.label].tolist(), CLASSES: vectors.class_names}
    for name in _FILES.keys() - lines.keys():  # of an output that is replaced
        _own(path, name).unlink(missing_ok=True)
    for name, content in lines.items():
        storage.write_atomic(_own(path, name), "".join(f"{line}\n" for line in content))
    with storage.atomic(path) as draft, draft.open("wb") as file:
        np.save(file, vectors.features, allow_pickle=False)
    return [*(_own(path, name) for name in lines), path]


def outputs(path: pathlib.Path) -> list[pathlib.Path]:
    """Every file that `write` may write."""
    return [path, *(_own(path, name) for name in _FILES)]


def unwritable(text: str) -> str:
    """Why a line of a text file cannot hold a name, a clause; "" if it can."""
    if len(text_files.lines(text)) > 1:
        return "holds a line end, and one line of a text file cannot"
    if not text.isprintable() and not _is_utf_8(text):
        return "is not UTF-8, and a text file is"
    return "begins as a byte-order mark does" if text.startswith("\ufeff") else ""


def _is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _own(path: pathlib.Path, name: str) -> pathlib.Path:
    return path.with_name(f"{path.stem}.{_FILES[name]}")


def _found(path: pathlib.Path) -> dict[str, pathlib.Path]:
    """The text files that belong to a .npy file."""
    found = {name: _own(path, name) for name in _FILES if _own(path, name).is_file()}
    shared = {
        name: path.with_name(file)
        for name, file in _FILES.items()
        if name not in found and path.with_name(file).is_file()
    }
    if not shared:
        return found
    arrays = [file for file in path.parent.iterdir() if file.suffix.lower() == ".npy"]
    if len(arrays) < 2:
        return {**shared, **found}
    for name, file in shared.items():
        logging.warning(
            "%s is not read, since its folder has several .npy files; if it belongs to "
            "%s, call it %s.",
            *(file, path.name, _own(path, name).name),
        )
    return found


def _check_labels(label: np.ndarray, where: str, naming: str) -> None:
    """Raises InputError where all labels are numbers: whether these are names, or
    numbers of names in some order, is not known."""
    known = [text for text in label.tolist() if text]
    if known and all(map(_INTEGER.fullmatch, known)):
        raise errors.InputError(
            f"{where} holds numbers, such as {known[0]}, which do not say in which "
            "order the classes are (1, 2, 10 or 1, 10, 2): write the name of the class "
            f"in each line; if the numbers are the names, {naming}."
        )
