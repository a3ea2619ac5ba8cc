"""The vectors that were computed before, in files of a folder.

A part holds the vectors of some images of any dataset, each with what its file is
recognized by. A part is written whole or not at all, and one that is damaged is
removed, so that its images are embedded again.
"""

import contextlib
import hashlib
import io
import os
import pathlib
import struct
import zipfile
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from dact_jax import array_files, errors, storage
from dact_jax.data.readers.opening import Stamp

_SUFFIX = ".npz"
_DIGEST = 32  # bytes of a SHA-256
_VECTOR = "vector"  # name of the array with the vectors
_FLOAT = np.dtype("<f4")  # of its numbers
AMBIGUOUS = b""  # in place of a content: no file has it


class Kept(NamedTuple):
    """The vector of an image, and what its file is recognized by."""

    stamp: Stamp
    content: bytes  # SHA-256 of the file
    vector: np.ndarray  # float32[F]


class Place(NamedTuple):
    """Where the numbers of a vector begin in a part; they stay on the disk."""

    path: pathlib.Path
    offset: int


class Known(NamedTuple):
    """Where vectors are, by what their files are recognized by.

    Two pictures without compression, unpacked from an archive, may have one size, time
    and beginning. Their stamp then says nothing, and only their content does.
    """

    by_stamp: dict[Stamp, bytes]  # the content; AMBIGUOUS: of several files
    by_content: dict[bytes, Place]
    width: int = 0  # F, numbers of a vector

    def of_stamp(self, stamp: Stamp) -> np.ndarray | None:
        """The vector float32[F] of a file; None if it is not known."""
        return self.of_content(self.by_stamp.get(stamp, AMBIGUOUS))

    def of_content(self, content: bytes) -> np.ndarray | None:
        """The same by the SHA-256 of the file."""
        place = self.by_content.get(content)
        if place is None:
            return None
        try:
            with place.path.open("rb") as file:
                file.seek(place.offset)
                raw = file.read(self.width * _FLOAT.itemsize)
        except OSError:  # someone has deleted the part
            return None
        is_whole = len(raw) == self.width * _FLOAT.itemsize
        return np.frombuffer(raw, _FLOAT) if is_whole else None


def joined(known: Sequence[Known], width: int) -> Known:
    """The vectors of several folders."""
    both = Known({}, {}, width)
    for one in known:
        for stamp, content in one.by_stamp.items():
            _note(both.by_stamp, stamp, content)
        both.by_content.update(one.by_content)
    return both


def without(known: Known, stamps: Iterable[Stamp]) -> Known:
    """The same, where these stamps say nothing."""
    return known._replace(by_stamp=known.by_stamp | dict.fromkeys(stamps, AMBIGUOUS))


def _note(by_stamp: dict[Stamp, bytes], stamp: Stamp, content: bytes) -> None:
    before = by_stamp.setdefault(stamp, content)
    if before != content:
        by_stamp[stamp] = AMBIGUOUS


def read(folder: pathlib.Path, identity: str, width: int) -> Known:
    """The vectors of all parts in a folder, which need not exist.

    Args:
      identity: of the backbone; parts of others are not read.
      width: F.
    """
    known = Known({}, {}, width)
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            stamps, contents = _read(path, identity, width)
            begin = _begin(path)
        except errors.InputError as error:
            logging.warning(
                "%s Its images are embedded again.", errors.printable(error)
            )
            with contextlib.suppress(OSError):  # or it would be named each time
                path.unlink()
            continue
        size = width * _FLOAT.itemsize
        for row, (stamp, content) in enumerate(
            zip(stamps.tolist(), contents, strict=True)
        ):
            place = Place(path, begin + row * size)
            _note(known.by_stamp, Stamp(*stamp), content.tobytes())
            known.by_content[content.tobytes()] = place
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
        _VECTOR: np.stack([row.vector for row in rows]).astype(_FLOAT, copy=False),
    }
    arrays["content"] = arrays["content"].reshape(-1, _DIGEST)
    archive = io.BytesIO()
    np.savez(archive, allow_pickle=False, **arrays)
    name = hashlib.sha256(arrays["content"].tobytes()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{_SUFFIX}"
    storage.write_atomic(path, archive.getvalue(), shared=True)


def _begin(path: pathlib.Path) -> int:
    """Where the vectors of an undamaged part begin, in bytes.

    Raises:
      InputError: they do not lie there as they are in memory.
    """
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        member = archive.getinfo(f"{_VECTOR}.npy")
        # As in the header of a member: 26 bytes, then the lengths of name and extras.
        file.seek(member.header_offset + 26)
        file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
        if member.compress_type == zipfile.ZIP_STORED:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                _, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
                if dtype == _FLOAT and not is_fortran:
                    return file.tell()
    raise errors.InputError(f"{path} is not as `write` writes it.")


def _read(
    path: pathlib.Path, identity: str, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Stamps int64[n, 3] and contents uint8[n, 32] of a part, whose vectors are sound.

    Raises:
      InputError: the part is damaged, or belongs to another backbone.
    """
    arrays = array_files.read(path)
    needed = ("identity", "stamp", "content", _VECTOR)
    if missing := [name for name in needed if name not in arrays]:
        raise errors.InputError(f"{path} lacks the array {missing[0]}.")
    if arrays["identity"].shape != () or str(arrays["identity"]) != identity:
        raise errors.InputError(f"{path} has vectors of another network.")
    stamps, contents, vectors = (arrays[name] for name in needed[1:])
    forms = {
        "stamp": (stamps, np.int64, 3),
        "content": (contents, np.uint8, _DIGEST),
        _VECTOR: (vectors, np.float32, width),
    }
    for name, (array, dtype, length) in forms.items():
        if array.dtype != dtype or array.shape != (len(stamps), length):
            raise errors.InputError(
                f"{path} is damaged: {name} is {array.dtype}{list(array.shape)}."
            )
    if not np.isfinite(vectors).all():
        raise errors.InputError(f"{path} is damaged: a vector is not finite.")
    return stamps, contents
