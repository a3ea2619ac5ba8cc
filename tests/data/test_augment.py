"""Augmentation: equal to plain indexing, and independent for each image."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors
from dact_jax.data import augment
from dact_jax.training import inference
from dact_jax.types import SOURCE, Features, Model

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
PLAIN = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}  # keeps pixel values 0..255

RUN = jax.jit(augment.augment, static_argnames=("crop", "flip", "mean", "std", "area"))


@pytest.fixture
def images():
    """All pixels of an image differ: channels are row, column and image number."""
    row, column = np.mgrid[:10, :10]
    planes = [np.full((10, 10), b) for b in range(6)]
    return np.stack([np.stack([row, column, b], -1) for b in planes]).astype(np.uint8)


def test_center(images):
    out = augment.center(images, crop=6, mean=MEAN, std=STD)
    want = (images[:, 2:8, 2:8] / 255 - np.array(MEAN)) / np.array(STD)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-6)


def test_a_crop_of_the_whole_image_changes_nothing(images, key):
    out = augment.augment(images, key, crop=10, flip=False, **PLAIN)
    np.testing.assert_allclose(out, images, atol=1e-4)
    text = jax.jit(
        lambda x, k: augment.augment(x, k, crop=10, flip=False, **PLAIN)
    ).lower(jnp.asarray(images), key)
    assert not {"dynamic_slice", "gather", "threefry"} & set(text.as_text().split())


def test_crops_are_windows_from_all_positions(images, key):
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


def test_the_key_determines_crops_and_flips(images, key):
    options = {"crop": 7, "flip": True, "mean": MEAN, "std": STD}
    run = jax.jit(lambda x, k: augment.augment(x, k, **options))
    compiled, eager = run(images, key), augment.augment(images, key, **options)
    other = run(images, jax.random.key(1))
    np.testing.assert_allclose(compiled, eager, rtol=1e-6, atol=1e-6)
    assert not np.allclose(compiled, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 11}, r"data\.crop .*1\.\.10 .*11"),
        ({"crop": 0}, r"data\.crop .*1\.\.10 .*0"),
        ({"mean": (0.5,)}, r"data\.mean .*3 .*1"),
        ({"std": (0.5,) * 4}, r"data\.std .*3 .*4"),
    ],
)
def test_mistakes(images, key, change, message):
    options = {"crop": 6, "mean": MEAN, "std": STD, **change}
    with pytest.raises(errors.InputError, match=message):
        augment.augment(images, key, flip=True, **options)
    with pytest.raises(errors.InputError, match=message):
        augment.center(images, **options)


# far: where crops at the bottom or right start; they end one pixel before the edge.
@pytest.mark.parametrize(("crop", "far"), [(6, 3), (9, 0), (10, 0)])
def test_ten_crops_are_corners_and_center_and_their_mirror_images(images, crop, far):
    views = augment.ten_crops(crop=crop, **PLAIN)
    center = functools.partial(augment.center, crop=crop, **PLAIN)
    crops = [np.round(view(jnp.asarray(images))) for view in [center, *views]]
    middle = round((10 - crop) / 2)
    corners = [(0, 0), (0, far), (far, 0), (far, far)]
    places = [(middle, middle), *corners]
    cuts = [images[:, i : i + crop, j : j + crop] for i, j in places]
    want = [*cuts, *(cut[:, :, ::-1] for cut in cuts)]
    assert len(crops) == 10
    assert _unordered(crops) == _unordered(want)
    for cropped in crops:
        assert cropped.shape == (6, crop, crop, 3)
        np.testing.assert_array_equal(cropped[..., 2], images[:, :crop, :crop, 2])


def _unordered(views):
    """First and last pixel of each view, which tell its place and direction."""
    ends = [np.asarray(view)[0][[0, -1], [0, -1], :2] for view in views]
    return sorted(end.astype(int).tolist() for end in ends)


def test_ten_crops_are_normalised(images):
    views = augment.ten_crops(crop=6, mean=MEAN, std=STD)
    cut = images[:, :6, :6] / 255
    want = (cut - np.array(MEAN)) / np.array(STD)
    views = [np.asarray(view(jnp.asarray(images))) for view in views]
    for corner in (want, want[:, :, ::-1]):
        assert any(np.allclose(view, corner, rtol=1e-5, atol=1e-6) for view in views)


def test_views_average_the_softmax_of_the_classifier():
    """The embedding and the other outputs are those of the first view."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 10, 10, 3)).astype(np.uint8)
    weight = rng.normal(size=(75, 4)).astype(np.float32) / 16

    def encode(variables, images, domains, *, train, key=None):
        assert (domains, train) == ((SOURCE,), False)
        return Features(images.reshape(*images.shape[:2], -1), ()), variables

    def head(variables, name, features, *, reverse=None, key=None):
        return features.embedding @ variables * (1.0 if name == "classifier" else 2.0)

    options = {"crop": 5, "mean": MEAN, "std": STD}
    center = functools.partial(augment.center, **options)
    views = augment.ten_crops(**options)
    heads = ("classifier", "discriminator")
    forward = inference.make_forward(Model(None, encode, head), heads, center, views)
    embedding, outputs = forward(jnp.asarray(weight), jnp.asarray(images), SOURCE)
    inputs = [np.asarray(view(jnp.asarray(images))) for view in [center, *views]]
    logits = np.stack([x.reshape(6, -1).astype(np.float64) @ weight for x in inputs])
    e = np.exp(logits - logits.max(-1, keepdims=True))
    p = (e / e.sum(-1, keepdims=True)).mean(0)
    np.testing.assert_allclose(np.exp(outputs["classifier"]), p, rtol=1e-4)
    np.testing.assert_allclose(embedding, inputs[0].reshape(6, -1), atol=1e-6)
    np.testing.assert_allclose(outputs["discriminator"], 2 * logits[0], rtol=1e-4)
    alone = inference.make_forward(Model(None, encode, head), heads, center)
    _, plain = alone(jnp.asarray(weight), jnp.asarray(images), SOURCE)
    np.testing.assert_allclose(plain["classifier"], logits[0], rtol=1e-4)
    assert (p.argmax(-1) != logits[0].argmax(-1)).any()  # views can change a prediction


def test_resized_crops_of_a_constant_image_are_constant(key):
    shade = np.array([[0, 17, 255], [3, 100, 200]], np.uint8)
    flat = np.broadcast_to(shade[:, None, None], (2, 12, 9, 3))
    out = RUN(flat, key, crop=5, flip=True, area=(0.1, 1.0), **PLAIN)
    assert (out.shape, out.dtype) == ((2, 5, 5, 3), jnp.float32)
    want = np.broadcast_to(shade[:, None, None], out.shape)
    np.testing.assert_allclose(out, want, atol=1e-3)


def _ramps(height, width, count):
    """Images whose pixels are ten times their row and column."""
    row, column = np.mgrid[:height, :width]
    ramp = np.stack([10 * row, 10 * column, 0 * row], -1).astype(np.uint8)
    return np.repeat(ramp[None], count, 0)


CUT = {"crop": 20, "flip": False, "area": (0.2, 0.6), **PLAIN}  # crops are enlarged


@pytest.fixture(scope="module")
def cuts():
    """Row and column that each pixel of 300 resized crops comes from."""
    return np.asarray(RUN(_ramps(24, 20, 300), jax.random.key(0), **CUT)) / 10


def _sides(cuts):
    """Height and width of each crop, from the slope of its ramps at inner pixels."""
    crop = cuts.shape[1]
    low, high = crop // 4, crop - 1 - crop // 4
    height = (cuts[:, high, 0, 0] - cuts[:, low, 0, 0]) * crop / (high - low)
    width = (cuts[:, 0, high, 1] - cuts[:, 0, low, 1]) * crop / (high - low)
    return height, width


def test_a_resized_crop_is_a_rectangle_inside_its_image(cuts):
    assert cuts[..., :2].min() >= 0
    assert cuts[..., 0].max() <= 23
    assert cuts[..., 1].max() <= 19
    # Source rows depend on the row alone and columns on the column, both linearly.
    np.testing.assert_allclose(cuts[..., 0] - cuts[:, :, :1, 0], 0, atol=1e-4)
    np.testing.assert_allclose(cuts[..., 1] - cuts[:, :1, :, 1], 0, atol=1e-4)
    for inner in (cuts[:, 2:-2, 0, 0], cuts[:, 0, 2:-2, 1]):
        steps = np.diff(inner, axis=1)
        np.testing.assert_allclose(steps - steps[:, :1], 0, atol=1e-4)
        assert steps.min() > 0.3


def test_areas_ratios_and_places_of_resized_crops(cuts):
    height, width = _sides(cuts)
    share = height * width / (24 * 20)
    assert share.min() > 0.1999
    assert share.max() < 0.6001
    assert share.min() < 0.22  # the whole range is used
    assert share.max() > 0.58
    ratio = height / width
    assert ratio.max() < 4 / 3 * 1.001
    assert ratio.max() > 1.3
    assert ratio.min() > 3 / 4 * 0.999
    assert ratio.min() < 0.77
    assert abs(np.log(ratio).mean()) < 0.03
    top = cuts[:, 9:11, 0, 0].mean(1) + 0.5 - height / 2  # center minus half the height
    left = cuts[:, 0, 9:11, 1].mean(1) + 0.5 - width / 2
    for start, side, total in ((top, height, 24), (left, width, 20)):
        assert start.min() > -1e-3
        assert (start + side).max() < total + 1e-3
        spread = start / (total - side)  # uniform in 0..1
        assert abs(spread.mean() - 0.5) < 0.05
        assert spread.min() < 0.05
        assert spread.max() > 0.95


def test_resized_crops_depend_on_the_key_and_the_place_in_the_batch(cuts):
    images = _ramps(24, 20, 5)  # the first of the batch of 300
    again = np.asarray(RUN(images, jax.random.key(0), **CUT)) / 10
    np.testing.assert_allclose(again, cuts[:5], atol=1e-4)
    other = np.asarray(RUN(images, jax.random.key(1), **CUT)) / 10
    assert (np.abs(other - cuts[:5]).max((1, 2, 3)) > 0.1).all()
    assert len({tuple(np.round(cut[10, 10], 2)) for cut in cuts}) > 290


def test_a_crop_of_the_full_area_is_narrowed_only_by_its_ratio(key):
    options = {"crop": 16, "flip": False, "area": (1.0, 1.0), **PLAIN}
    cuts = np.asarray(RUN(_ramps(16, 16, 50), key, **options)) / 10
    height, width = _sides(cuts)
    np.testing.assert_allclose(np.maximum(height, width), 16, rtol=1e-4)
    shorter = np.minimum(height, width)
    assert 16 * np.sqrt(3 / 4) - 0.01 < shorter.min() < 14.1


def test_an_invalid_area_is_rejected():
    for valid in ((0.0, 0.0), (0, 0), (0.08, 1.0), (1.0, 1.0), [0.5, 0.5]):
        augment.check_area(valid)
    pairs = [(0.0, 1.0), (0.5, 0.4), (0.5, 1.5), (-0.1, 0.5)]
    for invalid in (*pairs, (0.5,), (), (0.0,)):
        with pytest.raises(errors.InputError, match=r"data\.crop_area=.*0\.08, 1\.0"):
            augment.check_area(invalid)
