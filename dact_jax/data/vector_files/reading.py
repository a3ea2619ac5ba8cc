"""Files of vectors read by the ending of their names."""

import pathlib
from collections.abc import Callable

from dact_jax import errors
from dact_jax.data.vector_files import npy, npz, parquet
from dact_jax.data.vector_files.contents import Contents

_READERS: dict[str, Callable[[str | pathlib.Path], Contents]] = {
    ".npz": npz.read,
    ".parquet": parquet.read,
    ".npy": npy.read,
}
SUFFIXES = tuple(_READERS)


def read(path: str | pathlib.Path) -> Contents:
    """What a file of vectors holds.

    Raises:
      InputError: there is no such file, its name has another ending, it is damaged, or
        it holds no vectors.
    """
    suffix = pathlib.PurePath(path).suffix.lower()
    if suffix not in _READERS:
        raise errors.InputError(
            f"{errors.printable(path)} must end in {', '.join(SUFFIXES)}."
        )
    return _READERS[suffix](path)
