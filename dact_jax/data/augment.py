"""Stored uint8 images to network input, on the device: crop, flip, normalise."""

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
    """Each image cut at a random place, mirrored at random, normalised.

    Args:
      images: uint8[B, H, W, C].
      key: of this batch.
      crop: h = w of the result, in pixels.
      flip: mirror left-right with probability 1/2.
      mean: C values in 0..1, taken off after division by 255.
      std: C values, divided by after that.
      area: least and largest share of the image's area that a cut has, which is then
        brought to crop x crop (bilinear); its sides are in a ratio of 3:4 to 4:3. Both
        0: cuts are crop x crop pixels.

    Returns:
      float32[B, crop, crop, C].

    Raises:
      InputError: crop is larger than the image, mean and std do not fit C, or area is
        no pair of shares in rising order.
    """
    _check(images, crop)
    images = jnp.asarray(images)
    where = keys.key(key, "crop")
    if tuple(area) == (0.0, 0.0):
        images = _random_crop(images, where, crop)
    else:
        images = _random_resized_crop(images, where, crop, area)
    if flip:
        chosen = jax.random.bernoulli(keys.key(key, "flip"), shape=(len(images),))
        images = jnp.where(chosen[:, None, None, None], images[:, :, ::-1], images)
    return normalize(images, mean, std)


def check_area(area: Sequence[float]) -> None:
    """Refuses what is no pair of shares in rising order, nor both 0.

    Raises:
      InputError: shows the pair.
    """
    if tuple(area) != (0, 0) and not (len(area) == 2 and 0 < area[0] <= area[1] <= 1):
        raise errors.InputError(
            f"data.crop_area={tuple(area)} must be two shares, 0 < least <= largest <= "
            "1, such as (0.08, 1.0), or (0.0, 0.0) for none."
        )


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


def ten_crops(
    *, crop: int, mean: Sequence[float], std: Sequence[float]
) -> list[Callable[[jax.Array], jax.Array]]:
    """The four corners, and all five crops mirrored: with `center` the ten of ALDA.

    As there, the far corners end one pixel before the image's edge where there is one.

    Args:
      crop: as in `center`, and so the others.
      mean: see there.
      std: see there.

    Returns:
      Nine functions, each uint8[B, H, W, C] -> float32[B, crop, crop, C].
    """

    def corner(images: jax.Array, vertical: int, horizontal: int) -> jax.Array:
        height, width = images.shape[1:3]
        top = vertical * max(height - crop - 1, 0)
        left = horizontal * max(width - crop - 1, 0)
        return images[:, top : top + crop, left : left + crop]

    views = [
        functools.partial(corner, vertical=i, horizontal=j)
        for i in (0, 1)
        for j in (0, 1)
    ]
    middle = functools.partial(center, crop=crop, mean=mean, std=std)

    def of(view: Callable[..., jax.Array], mirrored: bool) -> Callable:
        def prepare(images: jax.Array) -> jax.Array:
            _check(images, crop)
            cut = normalize(view(images), mean, std)
            return cut[:, :, ::-1] if mirrored else cut

        return prepare

    mirrored = [lambda images: middle(images)[:, :, ::-1]]
    return [of(view, flip) for flip in (False, True) for view in views] + mirrored


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


def _random_resized_crop(
    images: jax.Array, key: Key, crop: int, area: Sequence[float]
) -> jax.Array:
    """float32[B, crop, crop, C] in 0..255, each a random rectangle of its image."""
    _, height, width, channels = images.shape
    sides = jnp.array([height, width], jnp.float32)

    def one(image: jax.Array, key: Key) -> jax.Array:
        share, ratio, place = (keys.key(key, name) for name in ("share", "ratio", "at"))
        pixels = (
            height * width * jax.random.uniform(share, minval=area[0], maxval=area[1])
        )
        # Height by width, even on a logarithmic scale.
        log_ratio = jax.random.uniform(
            ratio, minval=jnp.log(3 / 4), maxval=jnp.log(4 / 3)
        )
        cut = jnp.sqrt(pixels * jnp.exp(log_ratio * jnp.array([1.0, -1.0])))
        cut = jnp.minimum(cut, sides)  # [2]
        corner = jax.random.uniform(place, (2,)) * (sides - cut)
        scale = crop / cut
        return jax.image.scale_and_translate(
            image.astype(jnp.float32),
            (crop, crop, channels),
            (0, 1),
            scale,
            -corner * scale,
            method="bilinear",
            antialias=True,
        )

    each = jax.vmap(lambda image, i: one(image, keys.key(key, "image", i)))
    return each(images, jnp.arange(len(images)))
