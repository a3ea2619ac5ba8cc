"""One image file: from its bytes to pixels, or the reason why it has none."""

import contextlib
import errno
import hashlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from dact_jax import errors
from dact_jax.data.readers import formats

MAX_PIXELS = 89_478_485  # default of data.max_pixels: 256 MiB as RGB, Pillow's warning
PILLOWS_LIMIT = 2 * MAX_PIXELS  # what Pillow refuses, whatever the field says
HEAD = 2**16  # bytes at the start of a file whose hash stands for the file

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MACHINE_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # not the file's fault


def silence_pillow() -> None:
    """Hides what Pillow warns of: large images, odd metadata.

    This module decides about them, and names the file. What the user has set comes
    first. It is done once: to do it for each file is not safe in threads.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.", append=True)
    logger = logging.getLogger("PIL")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)


silence_pillow()


class Stamp(NamedTuple):
    """What a file is recognized by, so that a replaced one is noticed."""

    size: int  # in bytes
    modified: int  # in ns
    head: int  # 64 bits of the hash of its first bytes


class Inspection(NamedTuple):
    """What is known of a file after it was decoded once."""

    fault: str  # why it cannot be decoded; "" if it can
    stamp: Stamp
    place: tuple[int, int]  # device and inode: equal for two names of one file


class _UnreadableError(Exception):
    """Why an image cannot be read, as the end of a sentence."""


def decode(
    path: str,
    size: int,
    channels: int = 3,
    *,
    max_pixels: int = MAX_PIXELS,
    stamp: Stamp | None = None,
) -> np.ndarray:
    """Decodes one file to uint8[size, size, channels].

    Args:
      max_pixels: largest width times height.
      stamp: what the file was when it was inspected; None: anything is right.

    Raises:
      InputError: the file is missing, is not a readable image, or has changed since
        it was inspected.
    """
    try:
        with _opened(path) as file:
            _check(file, path, stamp)
            return _pixels(file, size, channels, max_pixels)
    except _UnreadableError as error:
        raise errors.InputError(unreadable(path, str(error))) from None


def inspect(path: str, *, max_pixels: int = MAX_PIXELS) -> Inspection:
    """Decodes a file as `decode` does, to one pixel, and says what it found."""
    stamp, place = Stamp(0, 0, 0), (0, 0)
    try:
        with _opened(path) as file:
            status = os.fstat(file.fileno())
            stamp, place = _stamp(file), (status.st_dev, status.st_ino)
            # A JPEG of one pixel: reads all bytes, decodes 1/64.
            _pixels(file, 1, 3, max_pixels)
    except _UnreadableError as error:
        return Inspection(str(error), stamp, place)
    return Inspection("", stamp, place)


def size_and_head(path: str, stamp: Stamp | None = None) -> tuple[int, bytes]:
    """The size of a file in bytes, and its first 64 KiB.

    Raises:
      InputError: the file cannot be read, or has changed since it was inspected.
    """
    try:
        with _opened(path) as file:
            _check(file, path, stamp)
            return os.fstat(file.fileno()).st_size, file.read(HEAD)
    except _UnreadableError as error:
        raise errors.InputError(unreadable(path, str(error))) from None


def fit(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """Converts an image of any size and mode to uint8[size, size, channels].

    See `files.ImageFiles` for how.

    Raises:
      InputError: the image cannot be read.
    """
    try:
        with _reasons("the image"):
            return _fit(image, size, channels)
    except _UnreadableError as error:
        raise errors.InputError(f"{error}.") from None


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
def _opened(path: str) -> Iterator[BinaryIO]:
    """The regular file; opening a pipe would wait for ever."""
    with _reasons(path):
        if not_file := formats.kind(os.stat(path).st_mode):
            raise _UnreadableError(f"it is {not_file}, not a file")
        with _File(io.FileIO(path)) as file:
            yield file


@contextlib.contextmanager
def _reasons(name: str) -> Iterator[None]:
    """Turns whatever a decoder raises on a damaged file into the reason."""
    try:
        yield
    except (errors.InputError, _UnreadableError):
        raise
    except MemoryError:  # another image may be read at the same time: not a damage
        raise errors.InputError(
            f"there is not enough memory to decode {errors.printable(name)}: lower "
            "data.max_pixels, or close other programs."
        ) from None
    except Image.DecompressionBombError:
        raise _UnreadableError(
            f"it has more than {PILLOWS_LIMIT} pixels, the most that Pillow decodes"
        ) from None
    except Image.UnidentifiedImageError:
        raise _UnreadableError("it holds no image that Pillow knows") from None
    except FileNotFoundError:
        link = os.path.islink(name)
        missing = "it is a link to nothing" if link else "there is no such file"
        raise _UnreadableError(missing) from None
    except OSError as error:
        if error.errno in _MACHINE_FULL:
            raise
        raise _UnreadableError(_reason(error)) from None
    # Decoders of damaged files raise anything: struct.error, KeyError, IndexError, ...
    except Exception as error:
        raise _UnreadableError(_reason(error)) from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return errors.printable(reason).removesuffix(".")


def _stamp(file: BinaryIO) -> Stamp:
    status = os.fstat(file.fileno())
    digest = hashlib.blake2b(file.read(HEAD), digest_size=8).digest()
    file.seek(0)
    head = int.from_bytes(digest, signed=True)
    return Stamp(status.st_size, status.st_mtime_ns, head)


def _check(file: BinaryIO, path: str, stamp: Stamp | None) -> None:
    """Raises InputError unless the file is what its stamp says, if it has one."""
    if stamp is not None and stamp != _stamp(file):
        raise errors.InputError(
            f"{errors.printable(path)} has changed since this run began to read its "
            "data: put the old file back and run the same command, or start a new run."
        )


def _pixels(file: BinaryIO, size: int, channels: int, max_pixels: int) -> np.ndarray:
    """Decodes an open file to uint8[size, size, channels]."""
    if not os.fstat(file.fileno()).st_size:
        raise _UnreadableError("it is empty")
    with Image.open(file, formats=formats.read()) as image:
        width, height = image.size  # from the header: nothing is decoded yet
        if width * height > max_pixels:
            raise _UnreadableError(
                f"it has {width} x {height} pixels, more than "
                f"data.max_pixels={max_pixels}"
            )
        # Decodes a large JPEG at 1/8, 1/4 or 1/2 of its size, but at twice the
        # requested size or more: several times faster.
        image.draft(None, (2 * size, 2 * size))
        return _fit(image, size, channels)


def _fit(image: Image.Image, size: int, channels: int) -> np.ndarray:
    image.load()
    image = _eight_bit(_upright(image))
    image = image.convert("RGB" if channels == 3 else "L")
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size, size, channels)


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF tag says.

    Only that tag is read: `ImageOps.exif_transpose` writes all others again, and fails
    where one is damaged. If the tag itself cannot be read, the pixels stay as stored.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except MemoryError:
        raise
    except Exception:  # struct.error, TypeError, SyntaxError, ...: metadata are damaged
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image in a mode that Pillow's `convert` turns into RGB or L correctly."""
    if image.mode == "F":
        raise _UnreadableError(
            "it has floating-point pixels; save it with 8 bits a channel"
        )
    if image.mode.startswith("I"):  # 16 bits, which `convert` would clip, not scale
        high = np.asarray(image) >> 8  # uint16 or int32, as large as the image itself
        return Image.fromarray(np.clip(high, 0, 255, out=high).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image)
    return image
