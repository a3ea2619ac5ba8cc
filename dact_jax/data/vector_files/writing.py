"""Vectors of images written in the form that the ending of a file's name asks for."""

import pathlib
from collections.abc import Iterable

import numpy as np

from dact_jax import errors, storage
from dact_jax.data.vector_files import npy, parquet
from dact_jax.data.vector_files.contents import CLASSES, FEATURES, LABEL, PATH, Vectors
from dact_jax.data.vector_files.reading import SUFFIXES
from dact_jax.types import UNLABELED


def outputs(path: pathlib.Path) -> list[pathlib.Path]:
    """Every file that `write` may write.

    Raises:
      InputError: no form has this ending, or its library is missing.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise errors.InputError(
            f"{errors.printable(path)} must end in {', '.join(SUFFIXES)}."
        )
    if suffix == ".parquet":
        parquet.require(path)
    return npy.outputs(path) if suffix == ".npy" else [path]


def check(path: pathlib.Path, names: Iterable[str]) -> None:
    """Raises InputError where the form cannot hold one of these ids and class names."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return
    unwritable = npy.unwritable if suffix == ".npy" else parquet.unwritable
    for name in names:
        if why := unwritable(name):
            raise errors.InputError(
                f"{errors.printable(path)}: the name '{errors.printable(name)}' {why}: "
                "write an .npz file, or rename it."
            )


def write(path: pathlib.Path, vectors: Vectors) -> list[pathlib.Path]:
    """Writes the file, each whole or not at all; the paths of all that are written."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return npy.write(path, vectors)
    if suffix == ".parquet":
        parquet.write(path, vectors)
        return [path]
    arrays = {FEATURES: vectors.features, PATH: vectors.path}
    if (vectors.label != UNLABELED).any():
        arrays |= {LABEL: vectors.label, CLASSES: np.array(vectors.class_names)}
    with storage.atomic(path) as draft, draft.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return [path]
