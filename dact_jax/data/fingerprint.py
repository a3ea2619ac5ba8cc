"""A short name for exactly what a reader found, to notice when data have changed."""

import hashlib
import os
import pathlib

import numpy as np

from dact_jax import errors
from dact_jax.data import files
from dact_jax.types import Dataset

_HEAD = 2**16  # bytes of each image file that count, besides its size


def of(data: Dataset) -> str:
    """SHA-256 over ids, labels, split and pixels (of files: size and first 64 KiB)."""
    digest = hashlib.sha256()
    digest.update("\n".join([*data.class_names, *data.id.tolist()]).encode())
    digest.update(np.asarray(data.label, np.int32).tobytes())
    if data.split is not None:
        digest.update("\n".join(data.split.tolist()).encode())
    digest.update(str(tuple(data.image.shape)).encode())
    if isinstance(data.image, files.ImageFiles):
        for path in data.image.paths:
            with open(path, "rb") as file:
                digest.update(str(os.fstat(file.fileno()).st_size).encode())
                digest.update(file.read(_HEAD))
    else:
        digest.update(np.ascontiguousarray(data.image[:]).tobytes())
    return f"sha256:{digest.hexdigest()}"


def of_file(path: str | pathlib.Path) -> str:
    """SHA-256 of a file.

    Raises:
      InputError: there is no such file.
    """
    if not os.path.isfile(path):
        raise errors.InputError(f"there is no weights file {path}.")
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
