"""Arrays of images brought to one size and one number of channels."""

import numpy as np
from PIL import Image

from dact_jax import errors


def fit(images: np.ndarray, *, size: int, channels: int) -> np.ndarray:
    """Resizes with Pillow's (anti-aliased) bilinear filter; grey is ITU-R 601 luma.

    Args:
      images: uint8[N, H, W, C], C of 1 or 3.
      size: height and width wanted, in pixels.
      channels: 1 or 3.

    Returns:
      uint8[N, size, size, channels].

    Raises:
      InputError: neither 1 nor 3 channels, or no positive size.
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
        raise errors.InputError(f"size must be at least 1 pixel, not {size}")
    if channels not in (1, 3):
        raise errors.InputError(f"channels must be 1 or 3, not {channels}")


def luma(images: np.ndarray) -> np.ndarray:
    """Grey of RGB, rounded as Pillow's mode "L".

    Args:
      images: uint8[..., 3].

    Returns:
      uint8[..., 1].
    """
    weights = np.array([[19595], [38470], [7471]], np.uint32)  # .299 .587 .114 x 2^16
    return ((images @ weights + 0x8000) >> 16).astype(np.uint8)


def resize(
    images: np.ndarray, size: int, filter: int = Image.Resampling.BILINEAR
) -> np.ndarray:
    """Every image at size x size pixels.

    Args:
      images: uint8[N, H, W, C], C of 1 or 3.
      size: pixels.
      filter: a Pillow resampling filter.

    Returns:
      uint8[N, size, size, C].
    """
    count, _, _, channels = images.shape
    out = np.empty((count, size, size, channels), np.uint8)
    for row, image in zip(out, images, strict=True):
        picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
        row[:] = np.asarray(picture.resize((size, size), filter)).reshape(row.shape)
    return out
