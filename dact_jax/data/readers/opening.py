"""Image files as bytes: opened, recognized, and why one cannot be read."""

import contextlib
import errno
import hashlib
import io
import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from PIL import Image

from dact_jax import errors
from dact_jax.data.readers import formats

PILLOWS_LIMIT = 178_956_970  # pixels that Pillow refuses, whatever data.max_pixels says
HEAD = 2**16  # bytes at the start of a file whose hash stands for the file

_MACHINE_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # not the file's fault


class Stamp(NamedTuple):
    """What a file is recognized by, so that a replaced one is noticed."""

    size: int  # in bytes
    modified: int  # in ns
    head: int  # 64 bits of the hash of its first bytes


class UnreadableError(Exception):
    """Why an image cannot be read, as the end of a sentence."""


def size_and_head(path: str, stamp: Stamp | None = None) -> tuple[int, bytes]:
    """The size of a file in bytes, and its first 64 KiB.

    Raises:
      InputError: the file cannot be read, or has changed since it was inspected.
    """
    try:
        with opened(path) as file:
            head = file.read(HEAD)
            now = _stamp(file, head)
    except UnreadableError as error:
        raise errors.InputError(unreadable(path, str(error))) from None
    _compare(path, now, stamp)
    return now.size, head


def stamp(path: str) -> Stamp:
    """What a file is recognized by now.

    Raises:
      InputError: the file cannot be read.
    """
    try:
        with opened(path) as file:
            return stamp_of(file)
    except UnreadableError as error:
        raise errors.InputError(unreadable(path, str(error))) from None


def content(path: str, known: Stamp | None = None) -> tuple[Stamp, bytes]:
    """What a file is recognized by, and the SHA-256 of all its bytes.

    Raises:
      InputError: the file cannot be read, or has changed since it was inspected.
    """
    try:
        with opened(path) as file:
            check(file, path, known)
            return stamp_of(file), hashlib.file_digest(file, "sha256").digest()
    except UnreadableError as error:
        raise errors.InputError(unreadable(path, str(error))) from None


def unreadable(path: str, reason: str) -> str:
    """The sentence about a file that cannot be decoded."""
    return f"{errors.printable(path)} is not a readable image: {reason}."


class _File(io.BufferedReader):
    """Takes no memory for bytes that a header claims and the file does not have."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > HEAD:
            left = os.fstat(self.fileno()).st_size - self.tell()
            size = min(size, max(left, 0))
        return super().read(size)


@contextlib.contextmanager
def opened(path: str) -> Iterator[io.BufferedReader]:
    """The regular file; opening a pipe would wait for ever."""
    with reasons(path):
        if not_file := formats.kind(os.stat(path).st_mode):
            raise UnreadableError(f"it is {not_file}, not a file")
        with _File(io.FileIO(path)) as file:
            yield file


@contextlib.contextmanager
def reasons(name: str) -> Iterator[None]:
    """Turns whatever a decoder raises on a damaged file into the reason."""
    try:
        yield
    except (errors.InputError, UnreadableError):
        raise
    except MemoryError:  # another image may be read at the same time: not a damage
        raise errors.InputError(
            f"there is not enough memory to decode {errors.printable(name)}: lower "
            "data.max_pixels, or close other programs."
        ) from None
    except Image.DecompressionBombError:
        raise UnreadableError(
            f"it has more than {PILLOWS_LIMIT} pixels, the most that Pillow decodes"
        ) from None
    except Image.UnidentifiedImageError:
        raise UnreadableError("it holds no image that Pillow knows") from None
    except FileNotFoundError:
        link = os.path.islink(name)
        missing = "it is a link to nothing" if link else "there is no such file"
        raise UnreadableError(missing) from None
    except OSError as error:
        if error.errno in _MACHINE_FULL:
            raise
        raise UnreadableError(_reason(error)) from None
    # Decoders of damaged files raise anything: struct.error, KeyError, IndexError, ...
    except Exception as error:
        raise UnreadableError(_reason(error)) from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return errors.printable(reason).removesuffix(".")


def stamp_of(file: BinaryIO) -> Stamp:
    """What an open file is recognized by; afterwards it is at its beginning."""
    found = _stamp(file, file.read(HEAD))
    file.seek(0)
    return found


def _stamp(file: BinaryIO, head: bytes) -> Stamp:
    """What an open file is recognized by, of which `head` was read."""
    status = os.fstat(file.fileno())
    digest = hashlib.blake2b(head, digest_size=8).digest()
    return Stamp(
        status.st_size, status.st_mtime_ns, int.from_bytes(digest, signed=True)
    )


def check(file: BinaryIO, path: str, stamp: Stamp | None) -> None:
    """Raises InputError unless the file is what its stamp says, if it has one."""
    if stamp is not None:
        _compare(path, stamp_of(file), stamp)


def _compare(path: str, now: Stamp, stamp: Stamp | None) -> None:
    """Raises InputError unless the file is now what it was, if that is known."""
    if stamp is not None and stamp != now:
        raise errors.InputError(
            f"{errors.printable(path)} has changed since this run began to read its "
            "data: put the old file back and run the same command, or start a new run."
        )


def check_unwritten(path: str, stamp: Stamp) -> None:
    """Checks that size and time of a file are those of its stamp, without opening it.

    Raises:
      InputError: they are not, or the file cannot be read.
    """
    try:
        status = os.stat(path)
    except OSError:
        status = None
    if status and (status.st_size, status.st_mtime_ns) == stamp[:2]:
        return
    try:
        with opened(path) as file:
            check(file, path, stamp)
    except UnreadableError as error:
        raise errors.InputError(unreadable(path, str(error))) from None
