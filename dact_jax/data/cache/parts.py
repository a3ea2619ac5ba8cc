"""Files of kept images: a head, an index, and the pixels of each image at its place.

A part is written whole or not at all. Its index has a digest, and each image a checksum
that is compared whenever it is read, so damage is noticed where it matters, and a start
reads no pixels.
"""

import contextlib
import hashlib
import os
import pathlib
import struct
import zlib
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from dact_jax import errors, storage

SUFFIX = ".images"
_MAGIC = b"dact_jax images\x01"
_HEAD = struct.Struct("<16s32s32sQQ")  # magic, identity, digest, images, their bytes
_PAGE = 4096  # pixels begin at a multiple of this, as a disk reads them
# A key says which file, and in what state: two halves of a hash.
ENTRY = np.dtype([("key", "<u8", (2,)), ("checksum", "<u4")])


class Part(NamedTuple):
    """Where the images of a part lie; their pixels stay on the disk."""

    path: pathlib.Path
    offset: int  # of the first image, in bytes
    row_bytes: int  # of an image


class DamageError(Exception):
    """Why a part, or an image in it, cannot be used, as the end of a sentence."""


def path_of(folder: pathlib.Path, keys: np.ndarray) -> pathlib.Path:
    """Where the part with images of these keys lies, uint64[n, 2].

    Its name follows from the keys, so two processes that keep the same images write the
    same file.
    """
    name = hashlib.sha256(np.ascontiguousarray(keys, "<u8").tobytes()).hexdigest()[:24]
    return folder / f"{name}{SUFFIX}"


def write(
    path: pathlib.Path,
    identity: bytes,
    keys: np.ndarray,
    images: Sequence[np.ndarray],
) -> np.ndarray:
    """Writes a part whose folder exists; returns its index, ENTRY[n].

    Args:
      identity: of the form, 32 bytes.
      keys: uint64[n, 2].
      images: n of uint8[H, W, C].

    Raises:
      OSError: the disk is full, or cannot be written to.
    """
    index = np.empty(len(keys), ENTRY)
    index["key"] = keys
    index["checksum"] = [zlib.crc32(image.data) for image in images]
    with storage.atomic(path, shared=True) as draft, draft.open("wb") as file:
        file.write(head(identity, index, images[0].nbytes))
        for image in images:
            file.write(image.data)
    return index


def head(identity: bytes, index: np.ndarray, row_bytes: int) -> bytes:
    """All of a part before its pixels.

    Args:
      index: ENTRY[n].
    """
    content = index.tobytes()
    digest = _digest(identity, content, len(index), row_bytes)
    start = _HEAD.pack(_MAGIC, identity, digest, len(index), row_bytes) + content
    return start + bytes(_offset(len(index)) - len(start))


def read(
    path: pathlib.Path, identity: bytes, row_bytes: int
) -> tuple[Part, np.ndarray]:
    """The place and the index ENTRY[n] of a part; no pixels are read.

    Raises:
      DamageError: it is damaged, or of another form.
      OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_HEAD.size)
        size = os.fstat(file.fileno()).st_size
        if len(start) < _HEAD.size or not start.startswith(_MAGIC):
            raise DamageError("it does not begin as kept images do")
        _, of, digest, count, width = _HEAD.unpack(start)
        if of != identity or width != row_bytes:
            raise DamageError("it has images of another form")
        if size != _offset(count) + count * row_bytes:
            raise DamageError(f"it has {size} bytes, which is not its length")
        content = file.read(count * ENTRY.itemsize)
    if digest != _digest(identity, content, count, row_bytes):
        raise DamageError("its index is damaged")
    return Part(path, _offset(count), row_bytes), np.frombuffer(content, ENTRY)


def fill(
    part: Part,
    rows: np.ndarray,
    checksums: np.ndarray,
    images: np.ndarray,
    places: np.ndarray,
) -> np.ndarray:
    """Reads images of a part into images[places].

    Reading at a position is faster than a map of the file, whose pages would count as
    memory of the process, and a disk that fails raises an error here.

    Args:
      rows: int[n] of the part; reading is fastest in their order.
      checksums: uint32[n].
      images: uint8[N, H, W, C], written to.
      places: int[n] into images.

    Returns:
      bool[n], images that are sound.

    Raises:
      OSError: the part is gone, or the disk fails.
    """
    sound = np.ones(len(rows), bool)
    position = -1
    with part.path.open("rb", buffering=0) as file:
        for i, (row, place) in enumerate(
            zip(rows.tolist(), places.tolist(), strict=True)
        ):
            wanted = part.offset + row * part.row_bytes
            if wanted != position:
                file.seek(wanted)
            view = images[place]
            position = wanted + _read_into(file, view)
            is_whole = position == wanted + part.row_bytes
            sound[i] = is_whole and zlib.crc32(view.data) == checksums[i]
    return sound


def remove(path: pathlib.Path) -> None:
    """Removes a part that is damaged, if that is possible."""
    with contextlib.suppress(OSError):
        path.unlink()


def told(path: pathlib.Path, error: Exception) -> str:
    """A sentence on a part that cannot be used."""
    reason = errors.clause(error) if not isinstance(error, OSError) else error.strerror
    return (
        f"{errors.printable(str(path))} keeps decoded images and cannot be used "
        f"({reason}): its images are decoded again."
    )


def _read_into(file: BinaryIO, image: np.ndarray) -> int:
    """Bytes that were read: fewer than those of the image where the file ends."""
    view = image.reshape(-1).data
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            break
        done += count
    return done


def _offset(count: int) -> int:
    """Where pixels begin in a part of so many images."""
    used = _HEAD.size + count * ENTRY.itemsize
    return -(-used // _PAGE) * _PAGE


def _digest(identity: bytes, content: bytes, count: int, row_bytes: int) -> bytes:
    sizes = struct.pack("<QQ", count, row_bytes)
    return hashlib.sha256(identity + sizes + content).digest()


def total_bytes(counts: Sequence[int], row_bytes: int) -> int:
    """Bytes of parts with so many images each."""
    return sum(_offset(count) + count * row_bytes for count in counts)
