"""A short name for exactly what a reader found, to notice when data have changed."""

import hashlib
import os

import numpy as np

from dact_jax.data import files
from dact_jax.types import Dataset


def of(data: Dataset) -> str:
    """SHA-256 over ids, labels, split and pixels (of files: their sizes in bytes)."""
    digest = hashlib.sha256()
    digest.update("\n".join([*data.class_names, *data.id.tolist()]).encode())
    digest.update(np.asarray(data.label, np.int32).tobytes())
    if data.split is not None:
        digest.update("\n".join(data.split.tolist()).encode())
    digest.update(str(tuple(data.image.shape)).encode())
    if isinstance(data.image, files.ImageFiles):
        sizes = [os.stat(path).st_size for path in data.image.paths]
        digest.update(str(sizes).encode())
    else:
        digest.update(np.ascontiguousarray(data.image[:]).tobytes())
    return f"sha256:{digest.hexdigest()}"
