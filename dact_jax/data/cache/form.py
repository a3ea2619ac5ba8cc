"""What decides the pixels of a kept image, besides its file."""

import hashlib
import json
import platform
from typing import Any, NamedTuple

import PIL
from PIL import features

from dact_jax.data.readers import decoding, formats

# Pillow decodes by these, which a distribution may build it against in any version.
_LIBRARIES = ("jpg", "libjpeg_turbo", "jpg_2000", "libtiff", "webp", "avif", "zlib")


class Form(NamedTuple):
    """How files become pixels."""

    size: int  # height and width, in pixels
    channels: int  # 1 or 3
    filter: decoding.Filter = "bilinear"
    max_pixels: int = decoding.MAX_PIXELS  # of a file; larger ones are refused

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, self.channels)

    @property
    def row_bytes(self) -> int:
        return self.size * self.size * self.channels


def record(form: Form) -> dict[str, Any]:
    """All that decides the pixels, for people and for `identity`."""
    return {
        "decoder": f"Pillow {PIL.__version__}",
        "libraries": {name: features.version(name) for name in _LIBRARIES},
        "formats": sorted(formats.read()),
        "machine": platform.machine(),
        "preparation": decoding.PREPARATION,
        **form._asdict(),
    }


def described(form: Form) -> str:
    """The record as JSON."""
    return json.dumps(record(form), sort_keys=True, indent=1) + "\n"


def identity(form: Form) -> bytes:
    """SHA-256 of the record: kept images of another identity are not used."""
    return hashlib.sha256(described(form).encode()).digest()
