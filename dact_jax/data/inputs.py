"""Converts a caller's images or vectors to the form that a run stores."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from dact_jax import errors
from dact_jax.data import threads
from dact_jax.data.readers import decoding, embeddings, opening
from dact_jax.types import Images

Item: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray"


@dataclasses.dataclass(frozen=True)
class MixedImages:
    """Paths, PIL images and arrays as uint8[N, size, size, channels].

    It is a `dact_jax.types.Images`. Items are converted when they are indexed, as
    `files.ImageFiles` converts files.
    """

    items: Sequence[Item]
    size: int
    channels: int
    filter: decoding.Filter = "bilinear"

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.items), self.size, self.size, self.channels)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = np.arange(len(self.items))[index]

        def convert(row: int) -> np.ndarray:
            form = (self.size, self.channels, self.filter)
            return _pixels(self.items[row], row, *form)

        # An opened PIL image is decoded when it is used, which is not thread-safe.
        if any(isinstance(self.items[row], Image.Image) for row in rows):
            return np.stack([convert(row) for row in rows])
        return np.stack(threads.map_in_order(convert, rows))


def as_images(
    images: Sequence[Item] | np.ndarray,
    size: int,
    channels: int,
    *,
    filter: decoding.Filter = "bilinear",
) -> Images:
    """Prepares images of any size as uint8[N, size, size, channels].

    Files are opened only when their rows are indexed. A path gives exactly the pixels
    of the run's own files; an opened JPEG may differ slightly, since large JPEG files
    are decoded at a reduced size.

    Args:
      images: N paths, PIL images or arrays uint8[H, W], [H, W, 1] or [H, W, 3], or one
        array uint8[N, H, W, C] or [N, H, W].
      size: height and width of the stored images of the run, in pixels.
      channels: 1 or 3.
      filter: that resizes.

    Raises:
      InputError: images is a single path or image, or an item is not an image.
    """
    if isinstance(images, (str, os.PathLike, Image.Image)):
        raise errors.InputError(
            f"images must be a list, not one {type(images).__name__}: use [image]."
        )
    if isinstance(images, np.ndarray) and images.size:
        one_image = images.ndim == 3 and images.shape[-1] in (1, 3)
        if images.ndim not in (3, 4) or one_image:
            raise errors.InputError(
                "an array of images must be uint8[N, H, W, C] or uint8[N, H, W], not "
                f"{images.dtype}{list(images.shape)}; give a single image as [image]."
            )
    items = list(images)
    for row, item in enumerate(items):
        if isinstance(item, np.ndarray):
            _check_array(item, row)
        elif not isinstance(item, (str, os.PathLike, Image.Image)):
            raise errors.InputError(
                f"image {row} must be a path, a PIL image or an array uint8[H, W, C], "
                f"not {type(item).__name__}."
            )
    return MixedImages(items, size, channels, filter)


def as_vectors(vectors: Any, width: int, scale: embeddings.Scale) -> np.ndarray:
    """Converts vectors as a run on embeddings does, to float32[N, 1, 1, width].

    Args:
      vectors: float[N, width].
      scale: `data.scale` of the run, "unit" or "raw".

    Raises:
      InputError: vectors has another shape or dtype, or is not finite.
    """
    array = np.asarray(vectors)
    if array.shape[:1] == (0,):
        return np.zeros((0, 1, 1, width), np.float32)
    if array.ndim != 2 or array.shape[1] != width or array.dtype.kind != "f":
        raise errors.InputError(
            f"vectors must be float[N, {width}], as the run was trained on, not "
            f"{array.dtype}{list(array.shape)}."
        )
    return embeddings.stored(array, "vectors", scale)


def _check_array(item: np.ndarray, row: int) -> None:
    plane = item.ndim == 2 or (item.ndim == 3 and item.shape[2] in (1, 3))
    if item.dtype != np.uint8 or not plane or 0 in item.shape:
        raise errors.InputError(
            f"image {row} must be uint8[H, W], [H, W, 1] or [H, W, 3], not "
            f"{item.dtype}{list(item.shape)}."
        )


def _pixels(
    item: Item, row: int, size: int, channels: int, filter: decoding.Filter
) -> np.ndarray:
    if isinstance(item, (str, os.PathLike)):
        limit = opening.PILLOWS_LIMIT  # the caller has chosen this file
        return decoding.decode(
            os.fspath(item), size, channels, filter=filter, max_pixels=limit
        )
    if isinstance(item, np.ndarray):
        item = Image.fromarray(item[..., 0] if item.shape[2:] == (1,) else item)
    try:
        return decoding.fit(item, size, channels, filter=filter)
    except errors.InputError as error:
        raise errors.InputError(f"image {row} cannot be read: {error}") from None
