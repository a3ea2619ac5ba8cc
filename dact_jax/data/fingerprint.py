"""Hashes of data and files, to detect that they have changed between two runs."""

import hashlib
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from dact_jax import errors
from dact_jax.data import threads
from dact_jax.data.readers import files, opening
from dact_jax.types import Dataset

_TEXT = ("utf-8", "surrogateescape")  # names of files and classes may be any bytes
_AT_ONCE = 256  # files of which 64 KiB each are in memory


def of(data: Dataset) -> str:
    """SHA-256 of class names, ids, labels, split and images.

    Of an image file, its size and first 64 KiB are hashed.

    Raises:
      InputError: an image file has changed since it was listed.
    """
    digest = hashlib.sha256()
    digest.update("\n".join([*data.class_names, *data.id.tolist()]).encode(*_TEXT))
    digest.update(np.asarray(data.label, np.int32).tobytes())
    if data.split is not None:
        digest.update("\n".join(data.split.tolist()).encode())
    digest.update(str(tuple(data.image.shape)).encode())
    if isinstance(data.image, files.ImageFiles):
        for size, head in _heads(data.image):
            digest.update(str(size).encode())
            digest.update(head)
    else:
        digest.update(np.ascontiguousarray(data.image[:]).tobytes())
    return f"sha256:{digest.hexdigest()}"


def _heads(images: files.ImageFiles) -> Iterator[tuple[int, bytes]]:
    """Size and first bytes of each file in order, a few at a time read by threads."""

    def read(row: int) -> tuple[int, bytes]:
        return opening.size_and_head(images.paths[row], images.stamp(row))

    for begin in range(0, len(images), _AT_ONCE):
        some = range(begin, min(begin + _AT_ONCE, len(images)))
        yield from threads.map_in_order(read, some)


def of_file(path: str | pathlib.Path) -> str:
    """SHA-256 of the file with the network's weights.

    Raises:
      InputError: there is no such file.
    """
    if not os.path.isfile(path):
        raise errors.InputError(f"there is no weights file {path}.")
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
