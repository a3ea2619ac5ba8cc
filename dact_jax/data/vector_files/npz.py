"""Vectors in an .npz file: arrays called features, label, path and classes."""

import pathlib

from dact_jax import array_files, errors
from dact_jax.data.vector_files.contents import (
    CLASSES,
    FEATURES,
    LABEL,
    OTHER_NAMES,
    PATH,
    Contents,
    check_names,
)

_ARRAYS = (FEATURES, LABEL, PATH, CLASSES)


def read(path: str | pathlib.Path) -> Contents:
    """The arrays of the file.

    Raises:
      InputError: there is no such file, it is damaged, it lacks the array features, or
        a name is nearly that of an array which it lacks, such as "labels".
    """
    arrays = array_files.read(path, _ARRAYS)
    there = array_files.names(path)
    if FEATURES not in arrays:
        raise errors.InputError(
            f"{path} lacks the array features, float[N, F]; it has {sorted(there)}."
        )
    check_names(path, "array", there, arrays, OTHER_NAMES)
    return Contents(
        arrays,
        {name: f"{name} of {path}" for name in _ARRAYS},
        f"save {path} with the array classes, the names in the order of the numbers",
        tuple(name for name in there if name not in _ARRAYS),
    )
