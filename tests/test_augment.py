"""Augmentation against plain indexing, and its independence of the batch's rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors
from dact_jax.data import augment

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
PLAIN = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}  # leaves 0..255 as it is

RUN = jax.jit(augment.augment, static_argnames=("crop", "flip", "mean", "std"))


@pytest.fixture
def images():
    """Every pixel of an image differs, and tells its row and column."""
    row, column = np.mgrid[:10, :10]
    planes = [np.full((10, 10), b) for b in range(6)]
    return np.stack([np.stack([row, column, b], -1) for b in planes]).astype(np.uint8)


def test_center(images):
    out = augment.center(images, crop=6, mean=MEAN, std=STD)
    want = (images[:, 2:8, 2:8] / 255 - np.array(MEAN)) / np.array(STD)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-6)


def test_nothing_to_do(images, key):
    out = augment.augment(images, key, crop=10, flip=False, **PLAIN)
    np.testing.assert_allclose(out, images, atol=1e-4)
    text = jax.jit(
        lambda x, k: augment.augment(x, k, crop=10, flip=False, **PLAIN)
    ).lower(jnp.asarray(images), key)
    assert not {"dynamic_slice", "gather", "threefry"} & set(text.as_text().split())


def test_crops_are_windows_of_every_place(images, key):
    big = np.repeat(images, 60, axis=0)
    out = RUN(big, key, crop=8, flip=False, **PLAIN)
    out = np.round(np.asarray(out))
    top, left = out[:, 0, 0, 0], out[:, 0, 0, 1]
    offset = np.arange(8)
    np.testing.assert_array_equal(
        out[..., 0],
        np.broadcast_to(top[:, None, None] + offset[:, None], out.shape[:3]),
    )
    np.testing.assert_array_equal(
        out[..., 1], np.broadcast_to(left[:, None, None] + offset, out.shape[:3])
    )
    np.testing.assert_array_equal(out[:, 0, 0, 2], big[:, 0, 0, 2])
    assert set(zip(top, left, strict=True)) == {
        (i, j) for i in range(3) for j in range(3)
    }


def test_flip_mirrors_about_half(images, key):
    big = np.repeat(images, 100, axis=0)
    out = np.round(RUN(big, key, crop=10, flip=True, **PLAIN))
    flipped = out[:, 0, 0, 1] == 9
    assert 250 < flipped.sum() < 350
    np.testing.assert_array_equal(out[flipped], big[flipped, :, ::-1])
    np.testing.assert_array_equal(out[~flipped], big[~flipped])


def test_keys_decide(images, key):
    options = {"crop": 7, "flip": True, "mean": MEAN, "std": STD}
    run = jax.jit(lambda x, k: augment.augment(x, k, **options))
    one, same = run(images, key), augment.augment(images, key, **options)
    other = run(images, jax.random.key(1))
    np.testing.assert_allclose(one, same, rtol=1e-6, atol=1e-6)
    assert not np.allclose(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 11}, r"crop must be 1\.\.10 pixels here, not 11"),
        ({"crop": 0}, "not 0"),
        ({"mean": (0.5,)}, "mean needs 3 values, one a channel, not 1"),
        ({"std": (0.5,) * 4}, "std needs 3 values"),
    ],
)
def test_mistakes(images, key, change, message):
    options = {"crop": 6, "mean": MEAN, "std": STD, **change}
    with pytest.raises(errors.InputError, match=message):
        augment.augment(images, key, flip=True, **options)
    with pytest.raises(errors.InputError, match=message):
        augment.center(images, **options)
