"""Arrays of the .npz files that experiments read."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from dact_jax import array_files, errors, storage


def read(path: str | pathlib.Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of these names of an .npz file.

    Raises:
      InputError: there is no such file, it is damaged, or it lacks one of them.
    """
    arrays = array_files.read(path, names)
    for name in names:
        if name not in arrays:
            raise errors.InputError(
                f"{path} lacks the array {name}; it has "
                f"{', '.join(array_files.names(path))}."
            )
    return {name: arrays[name] for name in names}


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz file, whole or not at all, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with storage.atomic(path) as draft, draft.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def shorten(
    path: str | pathlib.Path, output: pathlib.Path, names: Sequence[str], most: int
) -> pathlib.Path:
    """The file of digits with the first `most` training images, written if missing.

    Args:
      path: .npz file; its training images are x_train, their labels y_train.
      output: the file to write; it is returned.
      names: of the arrays to keep, x_train and y_train among them.
    """
    if not output.exists():
        found = read(path, names)
        for name in ("x_train", "y_train"):
            found[name] = found[name][:most]
        write(output, found)
    return output
