"""What a checkpoint vouches for: digests of its files and of the run's record so far.

A checkpoint is a numbered folder. Its digests are written before it gets its number, so
every checkpoint has them, but for those that earlier versions wrote.
"""

import errno
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from dact_jax import storage

FILE = "digests.json"

_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_NO_DIGESTS = (ValueError, AttributeError, TypeError, KeyError, RecursionError)
_OLDER = "_CHECKPOINT_METADATA"  # beside the data, where an earlier version saved them


class Beginning(NamedTuple):
    """How a file that only grows began."""

    size: int  # bytes
    digest: str  # SHA-256 of them, in hexadecimal digits


def numbers(root: pathlib.Path) -> list[int]:
    """The checkpoints in a folder, newest first; other files are no checkpoints."""
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    return sorted(map(int, filter(_NUMBER.fullmatch, names)), reverse=True)


def seal(folder: pathlib.Path, record: Collection[pathlib.Path] = ()) -> None:
    """Adds the digests of all files in a folder; all are on the disk afterwards.

    Args:
      record: files elsewhere, whose present beginning is vouched for too; what they
        hold must be on the disk, their names are brought there.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths:
        _flush(path)
    files = {path.relative_to(folder).as_posix(): _digest(path) for path in paths}
    beginnings = {path.name: beginning(path) for path in record}
    content = {"files": files, "record": beginnings}
    text = json.dumps({**content, "sha256": _of_content(content)}, indent=1)
    with (folder / FILE).open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    for place in {path.parent for path in record if path.exists()}:  # their names
        storage.flush_names(place)
    for place in (*filter(pathlib.Path.is_dir, folder.rglob("*")), folder):
        storage.flush_names(place)


def is_older(folder: pathlib.Path) -> bool:
    """Whether an earlier version saved this checkpoint, without digests."""
    return not (folder / FILE).exists() and (folder / _OLDER).is_file()


def damage(folder: pathlib.Path) -> str | None:
    """A clause that says what is wrong with a checkpoint; None if nothing is known."""
    if is_older(folder):
        return None
    content = _content(folder)
    if content is None:
        return f"{FILE} is missing or damaged"
    for name, digest in content["files"].items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        try:
            if _digest(folder / name) != digest:
                return f"{name} is not what was saved"
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return f"{name} cannot be read"
    return None


def newest_record(root: pathlib.Path) -> Mapping[str, Beginning]:
    """File name -> its beginning, as the newest checkpoint that tells it knows it."""
    for number in numbers(root):
        content = _content(root / str(number))
        if content is not None:
            return {k: Beginning(*v) for k, v in content["record"].items()}
    return {}


def beginning(path: pathlib.Path, size: int | None = None) -> Beginning:
    """The first `size` bytes of a file, or all; fewer where it has fewer."""
    if not path.exists():
        return Beginning(0, hashlib.sha256().hexdigest())
    with storage.naming(path), path.open("rb") as file:
        content = file.read() if size is None else file.read(size)
    return Beginning(len(content), hashlib.sha256(content).hexdigest())


def _content(folder: pathlib.Path) -> dict[str, Any] | None:
    """The digests of a checkpoint; None where they are missing or damaged."""
    try:
        content = json.loads((folder / FILE).read_bytes())
        own = content.pop("sha256")
    except (FileNotFoundError, NotADirectoryError, *_NO_DIGESTS):
        return None
    return dict(content) if own == _of_content(content) else None


def _of_content(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
