"""The file of a queried image, as a browser can show it."""

import hashlib
import io
import os
from typing import NamedTuple

from PIL import ExifTags, Image

from dact_jax import errors
from dact_jax.data.readers import decoding, formats
from dact_jax.queries.query import Item

# Pillow's name of a format -> its media type, where every browser shows it. SVG is not
# among them: it may hold scripts.
_SHOWN = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG of a phone with more images behind the first
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
}
_TURNED = ("JPEG", "MPO")  # formats that all browsers turn by their EXIF tag
_SMALL = 2**20  # pixels up to which an image is converted without loss
_QUALITY = 92  # of a larger one, as JPEG


class Picture(NamedTuple):
    """What is sent to a browser."""

    content: bytes
    media_type: str


def check(item: Item) -> None:
    """Checks that the file is still the one that the query was made of.

    Vectors without files pass.

    Raises:
      InputError: it has vanished, cannot be read, or has changed.
    """
    if item.path:
        _read(item)


def load(item: Item) -> Picture:
    """The image, in its own format if browsers show it.

    Others are sent as PNG or JPEG, with the pixels that the run sees.

    Raises:
      InputError: the file has vanished or changed, or is no readable image.
    """
    content = _read(item)
    if media_type := _media_type(content):
        return Picture(content, media_type)
    image = decoding.whole(content, item.path)
    out = io.BytesIO()
    if image.width * image.height <= _SMALL:
        image.save(out, "PNG")
        return Picture(out.getvalue(), "image/png")
    image.save(out, "JPEG", quality=_QUALITY)
    return Picture(out.getvalue(), "image/jpeg")


def _read(item: Item) -> bytes:
    """The bytes that the query was made of."""
    shown = errors.printable(item.path)
    again = "put it back, or skip the image"
    try:
        if not_file := formats.kind(os.stat(item.path).st_mode):
            raise errors.InputError(f"{shown} is {not_file}, not a file: {again}.")
        with open(item.path, "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise errors.InputError(
            f"{shown} has vanished since the query was made: {again}."
        ) from None
    except OSError as error:
        raise errors.InputError(
            f"{shown} cannot be read ({error.strerror}): {again}."
        ) from None
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if item.digest and digest != item.digest:
        raise errors.InputError(
            f"{shown} has changed since the query was made: put the old file back, or "
            "skip the image."
        )
    return content


def _media_type(content: bytes) -> str:
    """The type under which browsers show the file as the run sees it; "": none."""
    try:
        with Image.open(io.BytesIO(content), formats=formats.read()) as image:
            found = image.format or ""
            if found in _TURNED:
                return _SHOWN[found]
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            moves = getattr(image, "is_animated", False)
            return "" if turned or moves else _SHOWN.get(found, "")
    except MemoryError:
        raise
    except Exception:  # a damaged file raises anything; whoever decodes it says more
        return ""
