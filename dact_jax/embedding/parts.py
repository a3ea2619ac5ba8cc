"""The vectors that were computed before, in files of a folder.

A part holds the vectors of some images of any dataset, each with what its file is
recognized by. A part is written whole or not at all, and one that is damaged is
removed, so that its images are embedded again.
"""

import contextlib
import hashlib
import io
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from dact_jax import array_files, errors, storage
from dact_jax.data.readers.opening import Stamp

_SUFFIX = ".npz"
_DIGEST = 32  # bytes of a SHA-256


class Kept(NamedTuple):
    """The vector of an image, and what its file is recognized by."""

    stamp: Stamp
    content: bytes  # SHA-256 of the file
    vector: np.ndarray  # float32[F]


class Known(NamedTuple):
    """Vectors by what their files are recognized by."""

    by_stamp: dict[Stamp, np.ndarray]
    by_content: dict[bytes, np.ndarray]


def read(folder: pathlib.Path, identity: str, width: int) -> Known:
    """The vectors of all parts in a folder, which need not exist.

    Args:
      identity: of the backbone; parts of others are not read.
      width: F.
    """
    known = Known({}, {})
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            stamps, contents, vectors = _read(path, identity, width)
        except errors.InputError as error:
            logging.warning(
                "%s Its images are embedded again.", errors.printable(error)
            )
            with contextlib.suppress(OSError):  # or it would be named each time
                path.unlink()
            continue
        for stamp, content, vector in zip(
            stamps.tolist(), contents, vectors, strict=True
        ):
            known.by_stamp[Stamp(*stamp)] = vector
            known.by_content[content.tobytes()] = vector
    return known


def write(folder: pathlib.Path, identity: str, rows: Sequence[Kept]) -> None:
    """Writes a part, if there is something to write; the folder is made.

    Its name follows from its content, so two processes that compute the same vectors
    write the same file.
    """
    if not rows:
        return
    arrays = {
        "identity": np.array(identity),
        "stamp": np.array([row.stamp for row in rows], np.int64),
        "content": np.frombuffer(b"".join(row.content for row in rows), np.uint8),
        "vector": np.stack([row.vector for row in rows]),
    }
    arrays["content"] = arrays["content"].reshape(-1, _DIGEST)
    archive = io.BytesIO()
    np.savez(archive, allow_pickle=False, **arrays)
    name = hashlib.sha256(arrays["content"].tobytes()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{_SUFFIX}"
    storage.write_atomic(path, archive.getvalue(), shared=True)


def _read(
    path: pathlib.Path, identity: str, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stamps int64[n, 3], contents uint8[n, 32] and vectors float32[n, F] of a part.

    Raises:
      InputError: the part is damaged, or belongs to another backbone.
    """
    arrays = array_files.read(path)
    needed = ("identity", "stamp", "content", "vector")
    if missing := [name for name in needed if name not in arrays]:
        raise errors.InputError(f"{path} lacks the array {missing[0]}.")
    if arrays["identity"].shape != () or str(arrays["identity"]) != identity:
        raise errors.InputError(f"{path} has vectors of another network.")
    stamps, contents, vectors = (arrays[name] for name in needed[1:])
    forms = {
        "stamp": (stamps, np.int64, 3),
        "content": (contents, np.uint8, _DIGEST),
        "vector": (vectors, np.float32, width),
    }
    for name, (array, dtype, length) in forms.items():
        if array.dtype != dtype or array.shape != (len(stamps), length):
            raise errors.InputError(
                f"{path} is damaged: {name} is {array.dtype}{list(array.shape)}."
            )
    if not np.isfinite(vectors).all():
        raise errors.InputError(f"{path} is damaged: a vector is not finite.")
    return stamps, contents, vectors
