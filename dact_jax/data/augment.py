"""Stored uint8 images to network input, on the device: crop, flip, normalise."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dact_jax import errors, keys
from dact_jax.types import Array, Key


def augment(
    images: Array,
    key: Key,
    *,
    crop: int,
    flip: bool,
    mean: Sequence[float],
    std: Sequence[float],
) -> jax.Array:
    """Each image cut at a random place, mirrored at random, normalised.

    Args:
      images: uint8[B, H, W, C].
      key: of this batch.
      crop: h = w of the result, in pixels.
      flip: mirror left-right with probability 1/2.
      mean: C values in 0..1, taken off after division by 255.
      std: C values, divided by after that.

    Returns:
      float32[B, crop, crop, C].

    Raises:
      InputError: crop is larger than the image, or mean and std do not fit C.
    """
    _check(images, crop)
    images = jnp.asarray(images)
    images = _random_crop(images, keys.key(key, "crop"), crop)
    if flip:
        chosen = jax.random.bernoulli(keys.key(key, "flip"), shape=(len(images),))
        images = jnp.where(chosen[:, None, None, None], images[:, :, ::-1], images)
    return normalize(images, mean, std)


def center(
    images: Array, *, crop: int, mean: Sequence[float], std: Sequence[float]
) -> jax.Array:
    """The middle of each image, normalised: what evaluation sees.

    Args:
      images: uint8[B, H, W, C].
      crop: h = w of the result, in pixels.
      mean: C values in 0..1, taken off after division by 255.
      std: C values, divided by after that.

    Returns:
      float32[B, crop, crop, C].

    Raises:
      InputError: crop is larger than the image, or mean and std do not fit C.
    """
    _check(images, crop)
    top, left = (round((side - crop) / 2) for side in images.shape[1:3])
    cut = images[:, top : top + crop, left : left + crop]
    return normalize(jnp.asarray(cut), mean, std)


def normalize(
    images: jax.Array, mean: Sequence[float], std: Sequence[float]
) -> jax.Array:
    """(images / 255 - mean) / std as float32[B, h, w, C].

    Args:
      images: uint8[B, h, w, C].
      mean: C values in 0..1.
      std: C values.

    Raises:
      InputError: mean or std does not have C values.
    """
    channels = images.shape[-1]
    for name, value in (("mean", mean), ("std", std)):
        if len(value) != channels:
            raise errors.InputError(
                f"{name} needs {channels} values, one a channel, not {len(value)}"
            )
    shape = (1, 1, 1, channels)
    m, s = (jnp.asarray(v, jnp.float32).reshape(shape) for v in (mean, std))
    return (images.astype(jnp.float32) / 255 - m) / s


def _check(images: Array, crop: int) -> None:
    side = min(images.shape[1:3])
    if not 1 <= crop <= side:
        raise errors.InputError(f"crop must be 1..{side} pixels here, not {crop}")


def _random_crop(images: jax.Array, key: Key, crop: int) -> jax.Array:
    """uint8[B, crop, crop, C]."""
    count, height, width, channels = images.shape
    if height == width == crop:
        return images
    highest = jnp.array([height - crop, width - crop])
    corner = jax.random.randint(key, (count, 2), 0, highest[None] + 1)
    zero = jnp.zeros((count, 1), corner.dtype)
    start = jnp.concatenate([corner, zero], axis=1)
    size = (crop, crop, channels)
    return jax.vmap(lambda x, at: jax.lax.dynamic_slice(x, at, size))(images, start)
