"""Image files: decoded when indexed, and proved readable before training starts."""

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
from dact_jax.data import pixels
from dact_jax.types import Dataset, Images

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")
OnError = Literal["raise", "skip"]
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """uint8[N, size, size, channels] by rows, as `dact_jax.types.Images`.

    A grey, palette, transparent (over white), CMYK or 16-bit file becomes 8-bit RGB
    (or luma), is turned upright by its EXIF tag and resized, without keeping its
    aspect, by Pillow's anti-aliased bilinear filter. Of a GIF the first frame counts.
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
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)

        def fill(i: int) -> None:
            out[i] = decode(self.paths[rows[i]], self.size, self.channels)

        in_threads(fill, range(len(rows)))
        return out


def take(images: Images, rows: np.ndarray) -> Images:
    """The images of some rows; files stay undecoded.

    Args:
      images: uint8[N, H, W, C].
      rows: int[n] or bool[N].
    """
    if not isinstance(images, ImageFiles):
        return images[rows]
    chosen = np.arange(len(images))[rows]
    return dataclasses.replace(images, paths=tuple(images.paths[row] for row in chosen))


def decode(path: str, size: int, channels: int = 3) -> np.ndarray:
    """One file as uint8[size, size, channels].

    Raises:
      InputError: the file is missing or no readable image.
    """
    try:
        with Image.open(path) as opened:
            # A JPEG of many megapixels is decoded at an eighth, quarter or half of its
            # size, still at least twice what is wanted: several times faster.
            opened.draft(None, (2 * size, 2 * size))
            return fit(opened, size, channels)
    except UNREADABLE as error:
        fault = _text(error)
        raise errors.InputError(f"{path} is not a readable image: {fault}") from None


def fit(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """An image of any size and mode as uint8[size, size, channels], turned upright."""
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
    """Files as a domain; every one is read to its end first.

    Args:
      name: of the domain.
      root: the folder that ids start from.
      id: N paths below root.
      label: N numbers of classes, or UNLABELED.
      class_names: of the numbers.
      size: pixels.
      channels: 1 or 3.
      on_error: of an unreadable file: "raise", or "skip", log and count it.
      split: N of "train", "val", "test"; None: no official split.

    Raises:
      InputError: an unreadable file, or nothing readable.
    """
    pixels.check_size(size, channels)
    if on_error not in ("raise", "skip"):
        raise errors.InputError(f'on_error is "raise" or "skip", not {on_error!r}')
    paths = [str(root / path) for path in id]
    keep = _readable(paths, skip=on_error == "skip")
    if not keep.any():
        raise errors.InputError(f"{name} has no readable image")
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
    """bool[N], which files are whole images."""
    faults = in_threads(_fault, paths)
    for path, fault in zip(paths, faults, strict=True):
        message = f"{path} is not a readable image: {fault}"
        if fault and not skip:
            raise errors.InputError(f'{message}; on_error="skip" leaves such files out')
        if fault:
            logging.warning("left out: %s", message)
    return np.array([not fault for fault in faults], bool)


def is_image(path: pathlib.Path) -> bool:
    """Whether the name is that of an image, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image in a mode that `convert` turns into RGB or L without surprise."""
    if image.mode.startswith("I"):  # 16 bits; `convert` would clip, not scale
        high = np.clip(np.asarray(image, np.int64) >> 8, 0, 255)
        return Image.fromarray(high.astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image)
    image.load()
    return image


def _fault(path: str) -> str:
    """What is wrong with a file; empty if nothing."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (1, 1))  # JPEG: all bytes are read, 1/64 of the pixels
            image.load()
    except UNREADABLE as error:
        return _text(error)
    return ""


def _text(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def in_threads(function: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    """function of each item, in order; decoding releases the interpreter lock."""
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))
