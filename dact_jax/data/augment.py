"""Crops, flips and normalisation of stored uint8 images, on the device."""

import functools
from collections.abc import Callable, Sequence

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
    area: tuple[float, float] = (0.0, 0.0),
) -> jax.Array:
    """Crops each image at random, mirrors it at random and normalises it.

    Args:
      images: uint8[B, H, W, C].
      key: one per batch.
      crop: height and width of the result, in pixels.
      flip: mirror left-right with probability 1/2.
      mean: C values in 0..1, subtracted after division by 255.
      std: C values, by which the difference is divided.
      area: smallest and largest share of the image's area that a crop covers. The
        crop, with an aspect ratio between 3:4 and 4:3, is resized to crop x crop
        (bilinear). (0, 0): crops are crop x crop pixels and are not resized.

    Returns:
      float32[B, crop, crop, C].

    Raises:
      InputError: crop is larger than the image, or mean or std does not have C values.
    """
    _check_crop(images, crop)
    images = jnp.asarray(images)
    crop_key = keys.key(key, "crop")
    if tuple(area) == (0.0, 0.0):
        images = _random_crop(images, crop_key, crop)
    else:
        images = _random_resized_crop(images, crop_key, crop, area)
    if flip:
        mirror = jax.random.bernoulli(keys.key(key, "flip"), shape=(len(images),))
        images = jnp.where(mirror[:, None, None, None], images[:, :, ::-1], images)
    return normalize(images, mean, std)


def check_area(area: Sequence[float]) -> None:
    """Checks that area is (0, 0) or two shares, 0 < smallest <= largest <= 1.

    Raises:
      InputError: it is neither; the message shows the value of data.crop_area.
    """
    if tuple(area) != (0, 0) and not (len(area) == 2 and 0 < area[0] <= area[1] <= 1):
        raise errors.InputError(
            f"data.crop_area={tuple(area)} must be two shares of the image's area, "
            "0 < smallest <= largest <= 1, such as (0.08, 1.0), or (0.0, 0.0) for "
            "crops that are not resized."
        )


def center(
    images: Array, *, crop: int, mean: Sequence[float], std: Sequence[float]
) -> jax.Array:
    """The center crop of each image, normalised: the network's input in evaluation.

    Args:
      images: uint8[B, H, W, C].
      crop: height and width of the result, in pixels.
      mean: C values in 0..1, subtracted after division by 255.
      std: C values, by which the difference is divided.

    Returns:
      float32[B, crop, crop, C].

    Raises:
      InputError: crop is larger than the image, or mean or std does not have C values.
    """
    _check_crop(images, crop)
    top, left = (round((side - crop) / 2) for side in images.shape[1:3])
    cropped = images[:, top : top + crop, left : left + crop]
    return normalize(jnp.asarray(cropped), mean, std)


def ten_crops(
    *, crop: int, mean: Sequence[float], std: Sequence[float]
) -> list[Callable[[jax.Array], jax.Array]]:
    """The nine crops that, with `center`, make the ten crops of ALDA's evaluation.

    They are the four corners, and the mirror images of these and of the center. As in
    ALDA's code, crops at the bottom or right end one pixel before the edge if the
    image is larger than the crop. Arguments are those of `center`.

    Returns:
      Nine functions, each uint8[B, H, W, C] -> float32[B, crop, crop, C].
    """

    def corner(images: jax.Array, vertical: int, horizontal: int) -> jax.Array:
        height, width = images.shape[1:3]
        top = vertical * max(height - crop - 1, 0)
        left = horizontal * max(width - crop - 1, 0)
        return images[:, top : top + crop, left : left + crop]

    corners = [
        functools.partial(corner, vertical=i, horizontal=j)
        for i in (0, 1)
        for j in (0, 1)
    ]

    def make_view(corner: Callable[..., jax.Array], mirrored: bool) -> Callable:
        def view(images: jax.Array) -> jax.Array:
            _check_crop(images, crop)
            cropped = normalize(corner(images), mean, std)
            return cropped[:, :, ::-1] if mirrored else cropped

        return view

    def mirrored_center(images: jax.Array) -> jax.Array:
        return center(images, crop=crop, mean=mean, std=std)[:, :, ::-1]

    views = [make_view(corner, flip) for flip in (False, True) for corner in corners]
    return [*views, mirrored_center]


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
                f"data.{name} must have {channels} values, one per channel, not "
                f"{len(value)}."
            )
    shape = (1, 1, 1, channels)
    shift, scale = (jnp.asarray(v, jnp.float32).reshape(shape) for v in (mean, std))
    return (images.astype(jnp.float32) / 255 - shift) / scale


def _check_crop(images: Array, crop: int) -> None:
    side = min(images.shape[1:3])
    if not 1 <= crop <= side:
        raise errors.InputError(
            f"data.crop must be 1..{side} pixels, the size of the stored images, not "
            f"{crop}."
        )


def _random_crop(images: jax.Array, key: Key, crop: int) -> jax.Array:
    """uint8[B, crop, crop, C], each a random window of its image."""
    count, height, width, channels = images.shape
    if height == width == crop:
        return images
    last = jnp.array([height - crop, width - crop])
    corner = jax.random.randint(key, (count, 2), 0, last[None] + 1)
    zero = jnp.zeros((count, 1), corner.dtype)
    start = jnp.concatenate([corner, zero], axis=1)
    size = (crop, crop, channels)
    cut = jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, at, size))
    return cut(images, start)


def _random_resized_crop(
    images: jax.Array, key: Key, crop: int, area: Sequence[float]
) -> jax.Array:
    """float32[B, crop, crop, C] in 0..255, each a random rectangle of its image."""
    _, height, width, channels = images.shape
    sides = jnp.array([height, width], jnp.float32)

    def resized_crop(image: jax.Array, key: Key) -> jax.Array:
        share_key, ratio_key, corner_key = (
            keys.key(key, name) for name in ("share", "ratio", "at")
        )
        share = jax.random.uniform(share_key, minval=area[0], maxval=area[1])
        pixels = height * width * share
        # Height divided by width, uniform on a logarithmic scale.
        log_ratio = jax.random.uniform(
            ratio_key, minval=jnp.log(3 / 4), maxval=jnp.log(4 / 3)
        )
        rectangle = jnp.sqrt(pixels * jnp.exp(log_ratio * jnp.array([1.0, -1.0])))
        rectangle = jnp.minimum(rectangle, sides)  # height and width
        corner = jax.random.uniform(corner_key, (2,)) * (sides - rectangle)
        scale = crop / rectangle
        return jax.image.scale_and_translate(
            image.astype(jnp.float32),
            (crop, crop, channels),
            (0, 1),
            scale,
            -corner * scale,
            method="bilinear",
            antialias=True,
        )

    cut = jax.vmap(lambda image, i: resized_crop(image, keys.key(key, "image", i)))
    return cut(images, jnp.arange(len(images)))
