"""Which files are images: by the kind of file, by the ending, by the first bytes."""

import functools
import os
import stat

from PIL import Image

from dact_jax import errors

# Pillow can name these formats, but not decode them by itself: EPS would start another
# program, the others need one that is not installed with it.
_FOREIGN = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "IPTC"}
# Formats that their first bytes tell reliably, for files without an ending.
_CERTAIN = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM")
# Endings of photos as cameras and phones save them, which other programs can convert.
_PHOTOS = (".heic", ".heif", ".nef", ".cr2", ".cr3", ".arw", ".dng", ".orf", ".rw2")
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


@functools.cache
def read() -> tuple[str, ...]:
    """Pillow's names of the formats that are read, the certain ones first."""
    Image.init()
    others = [name for name in Image.ID if name not in (*_CERTAIN, *_FOREIGN)]
    return (*_certain(), *others)


def name_fault(name: str) -> str | None:
    """Why a file of this name cannot be an image; "" if it can.

    None: it has no ending, so that only `content_fault` can tell.
    """
    ending = os.path.splitext(name)[1].lower()
    if not ending:
        return None
    if ending in _endings():
        return ""
    convert = "; save it as JPEG" if ending in _PHOTOS else ""
    return f"Pillow reads no images with the ending {errors.printable(ending)}{convert}"


def content_fault(path: str) -> str:
    """Why a file does not begin like an image of a common format; "" if it does."""
    try:
        if not_file := kind(os.stat(path).st_mode):
            return f"it is {not_file}, not a file"
        with open(path, "rb") as file, Image.open(file, formats=_certain()):
            return ""
    except Image.DecompressionBombError:
        return ""  # an image: whoever decodes it says more
    except OSError as error:
        return error.strerror or "it has no ending and holds no image"
    except MemoryError:
        raise
    # A text that begins like a PPM image, a damaged AVIF image, ...: decoders raise
    # anything.
    except Exception:
        return "it has no ending and holds no image"


def kind(mode: int) -> str:
    """What a path is that is not a file, such as "a named pipe"; "" for a file."""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")


@functools.cache
def _certain() -> tuple[str, ...]:
    """Those of the formats that this Pillow was built with."""
    Image.init()
    return tuple(name for name in _CERTAIN if name in Image.OPEN)


@functools.cache
def _endings() -> frozenset[str]:
    """Endings of the formats that are read, in lower case, such as ".jpg"."""
    formats = read()
    known = Image.registered_extensions().items()
    return frozenset(ending for ending, name in known if name in formats)
