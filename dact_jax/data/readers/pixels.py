"""Conversion of image arrays to a given size and number of channels."""

import numpy as np
from PIL import Image

from dact_jax import errors


def fit(images: np.ndarray, *, size: int, channels: int) -> np.ndarray:
    """Converts images to one size and number of channels.

    Images are resized by Pillow's anti-aliased bilinear filter. Gray is ITU-R 601
    luma.

    Args:
      images: uint8[N, H, W, C], C of 1 or 3.
      size: height and width of the result, in pixels.
      channels: 1 or 3.

    Returns:
      uint8[N, size, size, channels].

    Raises:
      InputError: channels is not 1 or 3, or size is not positive.
    """
    check_size(size, channels)
    if images.shape[-1] == 3 and channels == 1:
        images = luma(images)
    if images.shape[1:3] != (size, size):
        images = resize(images, size)
    return np.repeat(images, 3, -1) if images.shape[-1] < channels else images


def check_size(size: int, channels: int) -> None:
    """Raises InputError unless size is positive and channels is 1 or 3."""
    if size < 1:
        raise errors.InputError(f"data.size must be at least 1 pixel, not {size}.")
    if channels not in (1, 3):
        raise errors.InputError(f"data.channels must be 1 or 3, not {channels}.")


def luma(images: np.ndarray) -> np.ndarray:
    """Gray values uint8[..., 1] of RGB uint8[..., 3], rounded as Pillow's mode "L"."""
    weights = np.array([[19595], [38470], [7471]], np.uint32)  # .299 .587 .114 x 2^16
    return ((images @ weights + 0x8000) >> 16).astype(np.uint8)


def resize(
    images: np.ndarray, size: int, filter: int = Image.Resampling.BILINEAR
) -> np.ndarray:
    """Resizes uint8[N, H, W, C], C of 1 or 3, to uint8[N, size, size, C].

    Args:
      filter: a Pillow resampling filter.
    """
    count, _, _, channels = images.shape
    resized = np.empty((count, size, size, channels), np.uint8)
    for target, image in zip(resized, images, strict=True):
        picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
        picture = picture.resize((size, size), filter)
        target[:] = np.asarray(picture).reshape(target.shape)
    return resized
