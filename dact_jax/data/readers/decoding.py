"""One image file: from its bytes to pixels, or the reason why it has none."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from dact_jax import errors
from dact_jax.data.readers import formats, opening

MAX_PIXELS = 89_478_485  # default of data.max_pixels: 256 MiB as RGB, Pillow's warning
Filter = Literal["bilinear", "bicubic"]  # Pillow's, both anti-aliased
# Version of what `decode` does with a file: kept pixels of another one are not used.
PREPARATION = 1

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = {_TURNS[orientation] for orientation in (5, 6, 7, 8)}


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


class Inspection(NamedTuple):
    """What is known of a file after it was opened, or decoded once."""

    fault: str  # why it cannot be used; "" if it can
    stamp: opening.Stamp
    place: tuple[int, int]  # device and inode: equal for two names of one file


def decode(
    path: str,
    size: int,
    channels: int = 3,
    *,
    filter: Filter = "bilinear",
    max_pixels: int = MAX_PIXELS,
    stamp: opening.Stamp | None = None,
) -> np.ndarray:
    """Decodes one file to uint8[size, size, channels].

    Args:
      filter: that resizes.
      max_pixels: largest width times height.
      stamp: what the file was when it was inspected; None: anything is right.

    Raises:
      InputError: the file is missing, is not a readable image, or has changed since
        it was inspected.
    """
    try:
        with opening.opened(path) as file:
            opening.check(file, path, stamp)
            return _pixels(file, size, channels, filter, max_pixels)
    except opening.UnreadableError as error:
        raise errors.InputError(opening.unreadable(path, str(error))) from None


def inspect(path: str, *, max_pixels: int = MAX_PIXELS) -> Inspection:
    """Decodes a file as `decode` does, to one pixel, and says what it found."""
    # A JPEG of one pixel: reads all bytes, decodes 1/64.
    return examine(path, 1, max_pixels=max_pixels)[0]


def examine(
    path: str,
    size: int,
    channels: int = 3,
    *,
    filter: Filter = "bilinear",
    max_pixels: int = MAX_PIXELS,
) -> tuple[Inspection, np.ndarray | None]:
    """Decodes a file as `decode` does, and says what it found.

    Returns:
      The inspection, and uint8[size, size, channels]; None if the file cannot be
      decoded, or was written to meanwhile.
    """
    stamp, place = opening.Stamp(0, 0, 0), (0, 0)
    try:
        with opening.opened(path) as file:
            stamp, place = _recognize(file)
            pixels = _pixels(file, size, channels, filter, max_pixels)
            now = os.fstat(file.fileno())
    except opening.UnreadableError as error:
        return Inspection(str(error), stamp, place), None
    is_same = (now.st_size, now.st_mtime_ns) == (stamp.size, stamp.modified)
    return Inspection("", stamp, place), pixels if is_same else None


def glance(path: str) -> Inspection:
    """What is known of a file that is opened and not decoded."""
    stamp, place = opening.Stamp(0, 0, 0), (0, 0)
    try:
        with opening.opened(path) as file:
            stamp, place = _recognize(file)
    except opening.UnreadableError as error:
        return Inspection(str(error), stamp, place)
    return Inspection("", stamp, place)


def _recognize(file: BinaryIO) -> tuple[opening.Stamp, tuple[int, int]]:
    status = os.fstat(file.fileno())
    return opening.stamp_of(file), (status.st_dev, status.st_ino)


def fit(
    image: Image.Image, size: int, channels: int, *, filter: Filter = "bilinear"
) -> np.ndarray:
    """Converts an image of any size and mode to uint8[size, size, channels].

    See `files.ImageFiles` for how.

    Raises:
      InputError: the image cannot be read.
    """
    try:
        with opening.reasons("the image"):
            return _fit(image, size, channels, filter)
    except opening.UnreadableError as error:
        raise errors.InputError(f"{error}.") from None


def thumbnail(path: str, side: int) -> Image.Image:
    """Decodes one file to an upright RGB image whose longest side is `side` at most.

    Raises:
      InputError: the file is missing or is not a readable image.
    """
    with _image(path) as image:
        image.draft(None, (2 * side, 2 * side))
        image.load()
        small = _eight_bit(_upright(image)).convert("RGB")
        small.thumbnail((side, side), Image.Resampling.BILINEAR)
        return small


def whole(content: bytes, path: str) -> Image.Image:
    """The image in the bytes of a file: RGB, upright, what is transparent white.

    Raises:
      InputError: it cannot be read.
    """
    try:
        with (
            opening.reasons(path),
            Image.open(io.BytesIO(content), formats=formats.read()) as image,
        ):
            image.load()
            return _eight_bit(_upright(image)).convert("RGB")
    except opening.UnreadableError as error:
        raise errors.InputError(opening.unreadable(path, str(error))) from None


def dimensions(path: str) -> tuple[int, int]:
    """Width and height of the upright image in a file, from its header alone.

    Raises:
      InputError: the file is missing or begins as no image.
    """
    with _image(path) as image:
        width, height = image.size
        return (height, width) if _turn(image) in _ON_ITS_SIDE else (width, height)


@contextlib.contextmanager
def _image(path: str) -> Iterator[Image.Image]:
    """The image of a file, not decoded yet; what fails in the block is its fault."""
    try:
        with (
            opening.opened(path) as file,
            Image.open(file, formats=formats.read()) as image,
        ):
            yield image
    except opening.UnreadableError as error:
        raise errors.InputError(opening.unreadable(path, str(error))) from None


def _pixels(
    file: BinaryIO, size: int, channels: int, filter: Filter, max_pixels: int
) -> np.ndarray:
    """Decodes an open file to uint8[size, size, channels]."""
    if not os.fstat(file.fileno()).st_size:
        raise opening.UnreadableError("it is empty")
    with Image.open(file, formats=formats.read()) as image:
        width, height = image.size  # from the header: nothing is decoded yet
        if width * height > max_pixels:
            raise opening.UnreadableError(
                f"it has {width} x {height} pixels, more than "
                f"data.max_pixels={max_pixels}"
            )
        # Decodes a large JPEG at 1/8, 1/4 or 1/2 of its size, but at twice the
        # requested size or more: several times faster.
        image.draft(None, (2 * size, 2 * size))
        return _fit(image, size, channels, filter)


def _fit(image: Image.Image, size: int, channels: int, filter: Filter) -> np.ndarray:
    image.load()
    image = _eight_bit(_upright(image))
    image = image.convert("RGB" if channels == 3 else "L")
    image = image.resize((size, size), Image.Resampling[filter.upper()])
    return np.asarray(image).reshape(size, size, channels)


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF tag says.

    Only that tag is read: `ImageOps.exif_transpose` writes all others again, and fails
    where one is damaged.
    """
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How to turn an image; not at all if its EXIF tag cannot be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except MemoryError:
        raise
    except Exception:  # struct.error, TypeError, SyntaxError, ...: metadata are damaged
        return None
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image in a mode that Pillow's `convert` turns into RGB or L correctly."""
    if image.mode == "F":
        raise opening.UnreadableError(
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
