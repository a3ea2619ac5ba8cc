"""Image files: decoded when indexed, and checked for errors when they are listed."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from typing import Any, Literal, TypeVar

import numpy as np
from absl import logging
from PIL import Image, ImageOps

from dact_jax import errors
from dact_jax.data.readers import pixels
from dact_jax.types import Dataset, Images

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")
OnError = Literal["raise", "skip"]
READ_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Files as uint8[N, size, size, channels], decoded when rows are indexed.

    It is a `dact_jax.types.Images`. Gray, palette, transparent (composited over
    white), CMYK and 16-bit files become 8-bit RGB (or luma). Images are rotated by
    their EXIF tag and resized by Pillow's anti-aliased bilinear filter, without
    keeping the aspect ratio. Only the first frame of a GIF is read.
    """

    paths: tuple[str, ...]
    size: int
    channels: int

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.paths), self.size, self.size, self.channels)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        rows = np.arange(len(self.paths))[index]
        if rows.ndim == 0:
            return decode(self.paths[rows], self.size, self.channels)
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)

        def fill(i: int) -> None:
            images[i] = decode(self.paths[rows[i]], self.size, self.channels)

        map_in_threads(fill, range(len(rows)))
        return images


def take(images: Images, rows: np.ndarray) -> Images:
    """The images in the given rows, int[n] or bool[N]; files stay undecoded."""
    if not isinstance(images, ImageFiles):
        return images[rows]
    paths = tuple(images.paths[row] for row in np.arange(len(images))[rows])
    return dataclasses.replace(images, paths=paths)


def decode(path: str, size: int, channels: int = 3) -> np.ndarray:
    """Decodes one file to uint8[size, size, channels].

    Raises:
      InputError: the file is missing or is not a readable image.
    """
    try:
        with Image.open(path) as opened:
            # Decodes a large JPEG at 1/8, 1/4 or 1/2 of its size, but at twice the
            # requested size or more: several times faster.
            opened.draft(None, (2 * size, 2 * size))
            return fit(opened, size, channels)
    except READ_ERRORS as error:
        raise errors.InputError(_unreadable(path, _reason(error))) from None


def fit(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """Converts an image of any size and mode to uint8[size, size, channels].

    See `ImageFiles` for how.
    """
    image = _eight_bit(ImageOps.exif_transpose(image))
    image = image.convert("RGB" if channels == 3 else "L")
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size, size, channels)


def dataset(
    name: str,
    root: pathlib.Path,
    id: Sequence[str],
    label: Sequence[int],
    class_names: Sequence[str],
    *,
    size: int,
    channels: int,
    on_error: OnError,
    split: Sequence[str] | None = None,
) -> Dataset:
    """Makes a domain of image files, after reading every file to its end.

    Args:
      root: folder that ids are relative to.
      id: N paths below root.
      label: N class numbers, UNLABELED where there is no label.
      class_names: names of the classes, by number.
      size: height and width of the decoded images, in pixels.
      channels: 1 or 3.
      on_error: what to do with an unreadable file: "raise" an error, or "skip": log
        it, leave it out and count it.
      split: N of "train", "val", "test" or "" (not said); None: no official split.

    Raises:
      InputError: a file is unreadable and on_error is "raise", or no file is readable.
    """
    pixels.check_size(size, channels)
    if on_error not in ("raise", "skip"):
        raise errors.InputError(
            f'data.on_error must be "raise" or "skip", not {on_error!r}.'
        )
    paths = [str(root / path) for path in id]
    keep = _readable(paths, skip=on_error == "skip")
    if not keep.any():
        raise errors.InputError(f"{name} has no readable image.")
    return Dataset(
        name=name,
        image=take(ImageFiles(tuple(paths), size, channels), keep),
        label=np.array(label, np.int32)[keep],
        id=np.array(id)[keep],
        split=None if split is None else np.array(split)[keep],
        class_names=tuple(class_names),
        skipped=int(np.sum(~keep)),
    )


def _readable(paths: Sequence[str], *, skip: bool) -> np.ndarray:
    """bool[N], which files can be decoded; with `skip` the others are logged."""
    faults = map_in_threads(_fault, paths)
    for path, fault in zip(paths, faults, strict=True):
        if fault and not skip:
            raise errors.InputError(
                f"{_unreadable(path, fault)} data.on_error='skip' leaves it out."
            )
        if fault:
            logging.warning("Left out: %s", _unreadable(path, fault))
    return np.array([not fault for fault in faults], bool)


def _unreadable(path: str, reason: str) -> str:
    return f"{path} is not a readable image: {reason.removesuffix('.')}."


def is_image(path: pathlib.Path) -> bool:
    """Whether the file is named like an image and is not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image in a mode that Pillow's `convert` turns into RGB or L correctly."""
    if image.mode == "F":
        raise ValueError("it has floating-point pixels; save it with 8 bits a channel")
    if image.mode.startswith("I"):  # 16 bits, which `convert` would clip, not scale
        high = np.clip(np.asarray(image, np.int64) >> 8, 0, 255)
        return Image.fromarray(high.astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image)
    image.load()
    return image


def _fault(path: str) -> str:
    """Why a file cannot be decoded; empty if it can."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (1, 1))  # a JPEG: reads all bytes, decodes 1/64
            image.load()
    except READ_ERRORS as error:
        return _reason(error)
    return ""


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def map_in_threads(function: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    """function of each item, in order; decoding releases the interpreter lock."""
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))
