"""Images of a data set as files in the user's cache, written once.

As files they take every way that a folder of photos takes: a backbone embeds them, and
a person is shown them.
"""

import os
import pathlib
import secrets
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dact_jax import errors, storage
from dact_jax.data.readers import formats

_BLOCK = 64  # images in memory at once


class Part(NamedTuple):
    """A split, and which of its rows are asked for."""

    name: str  # of its folder
    data: Any  # the Dataset
    rows: np.ndarray  # int64[n]


def place(key: str) -> pathlib.Path:
    """The folder of a selection of rows, named by a hash of what it holds."""
    return storage.user_cache() / "datasets" / key


def files(
    folder: pathlib.Path, parts: Sequence[Part], column: str
) -> tuple[list[str], bool]:
    """The files of the images below a folder, and whether they were written now.

    Args:
      folder: of `place`.
      column: with the images.

    Raises:
      InputError: a row holds no image.
      OSError: the disk refuses it.
    """
    found = _found(folder, parts)
    if found is not None:
        return found, False
    shutil.rmtree(folder, ignore_errors=True)  # some files of it were removed
    _write(folder, parts, column)
    found = _found(folder, parts)
    assert found is not None
    return found, True


def _found(folder: pathlib.Path, parts: Sequence[Part]) -> list[str] | None:
    """The files of all rows; None if one is missing."""
    names: list[str] = []
    for part in parts:
        place = folder / part.name
        there = {}
        if place.is_dir():
            there = {path.stem: path.name for path in place.iterdir()}
        for row in part.rows.tolist():
            name = there.get(_stem(row, len(part.data)))
            if name is None:
                return None
            names.append(f"{part.name}/{name}")
    return names


def _stem(row: int, total: int) -> str:
    """The name of a row's file: its number, so that names keep the order."""
    return f"{row:0{len(str(max(total - 1, 0)))}d}"


def _write(folder: pathlib.Path, parts: Sequence[Part], column: str) -> None:
    """Writes the images into a folder that is there afterwards, whole."""
    draft = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        with storage.naming(folder):
            draft.mkdir(parents=True)
            for part in parts:
                (draft / part.name).mkdir(exist_ok=True)
                _write_part(draft / part.name, part, column)
            try:
                os.replace(draft, folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_part(folder: pathlib.Path, part: Part, column: str) -> None:
    images = part.data.select_columns([column]).with_format("arrow")
    for start in range(0, len(part.rows), _BLOCK):
        block = part.rows[start : start + _BLOCK].tolist()
        values = images[block].column(column).to_pylist()
        for row, value in zip(block, values, strict=True):
            where = f"row {row} of {part.name}, column {column}"
            content, suffix = _content(value, where)
            name = f"{_stem(row, len(part.data))}{suffix}"
            (folder / name).write_bytes(content)


def _content(value: Any, where: str) -> tuple[bytes, str]:
    """The bytes of an image file, and the ending of its name."""
    given = value if isinstance(value, dict) else {"bytes": value}
    content, path = given.get("bytes"), str(given.get("path") or "")
    if content is None and os.path.isfile(path):
        content = pathlib.Path(path).read_bytes()
    if not isinstance(content, bytes):
        raise errors.InputError(f"{where} holds no image.")
    suffix = pathlib.PurePath(path).suffix.lower()
    known = suffix and formats.name_fault(f"x{suffix}") == ""
    return content, suffix if known else ""
