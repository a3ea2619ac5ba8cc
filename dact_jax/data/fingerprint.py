"""Hashes of data and files, to detect that they have changed between two runs."""

import hashlib
import os
import pathlib

import numpy as np

from dact_jax import errors
from dact_jax.data.readers import files, opening
from dact_jax.types import Dataset

_TEXT = ("utf-8", "surrogateescape")  # names of files and classes may be any bytes


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
        for row, path in enumerate(data.image.paths):
            size, head = opening.size_and_head(path, data.image.stamp(row))
            digest.update(str(size).encode())
            digest.update(head)
    else:
        digest.update(np.ascontiguousarray(data.image[:]).tobytes())
    return f"sha256:{digest.hexdigest()}"


def of_file(path: str | pathlib.Path) -> str:
    """SHA-256 of the file with the network's weights.

    Raises:
      InputError: there is no such file.
    """
    if not os.path.isfile(path):
        raise errors.InputError(f"there is no weights file {path}.")
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
