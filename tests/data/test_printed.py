"""Printed digits: only digit glyphs, varied, deterministic."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.data.readers import printed


@pytest.fixture(scope="module")
def data():
    return printed.load(per_class=42)


def test_fonts_show_digits():
    names = {path.stem for path in printed.digit_fonts()}
    assert {"DejaVuSans", "DejaVuSerif-Bold", "STIXGeneral", "cmr10"} <= names
    symbols = {"LastResortHE-Regular", "cmsy10", "cmex10", "cmmi10", "STIXSizOneSymReg"}
    assert not names & symbols
    assert len(names) >= 15


def test_shapes_labels_and_ids(data):
    assert data.image.shape == (420, 28, 28, 1)
    assert data.image.dtype == np.uint8
    assert data.label.dtype == np.int32
    np.testing.assert_array_equal(np.bincount(data.label), np.full(10, 42))
    assert len(set(data.id)) == 420
    assert data.id[0] == "DejaVuSans-Bold/0/0000"
    assert [int(id.split("/")[1]) for id in data.id] == data.label.tolist()
    assert data.class_names == tuple("0123456789")
    assert data.split is None


def test_ink_is_white_on_black_and_inside(data):
    images = data.image[..., 0].astype(float)
    assert (images.max((1, 2)) > 120).all()
    assert 15 < images.mean() < 60
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0]], axis=1)
    assert border.mean() < 1


def test_images_vary(data):
    assert len(np.unique(data.image.reshape(420, -1), axis=0)) == 420


def test_images_depend_on_the_seed_but_not_on_per_class(data):
    fewer, other_seed = printed.load(per_class=3), printed.load(per_class=3, seed=1)
    first = np.concatenate([np.flatnonzero(data.label == k)[:3] for k in range(10)])
    np.testing.assert_array_equal(fewer.image, data.image[first])
    assert fewer.id.tolist() == data.id[first].tolist() == other_seed.id.tolist()
    assert not np.array_equal(fewer.image, other_seed.image)


def test_size_and_channels():
    data = printed.load(per_class=1, size=32, channels=3)
    assert data.image.shape == (10, 32, 32, 3)
    np.testing.assert_array_equal(data.image[..., 0], data.image[..., 2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_class": 0}, "per_class .* 0"),
        ({"size": 0}, r"data\.size .* 0"),
        ({"channels": 2}, r"data\.channels .* 2"),
    ],
)
def test_errors(options, message):
    with pytest.raises(errors.InputError, match=message):
        printed.load(**options)
