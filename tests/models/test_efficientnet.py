"""EfficientNet-Lite0 against torch's numbers on random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax.models import backbones
from dact_jax.models.frozen import efficientnet
from tests import toy


def random_file(path):
    """Weights by a seed, as the fixture was made with; returns the generator."""
    random, tensors = np.random.default_rng(0), {}
    shapes = efficientnet.shapes()
    for name in sorted(shapes):
        values = random.standard_normal(shapes[name]).astype(np.float32)
        if name.endswith("running_var"):
            values = 1 + np.abs(values)
        elif name.endswith("running_mean"):
            values = np.float32(0.1) * values
        elif values.ndim == 4:
            scale = (3 / np.prod(values.shape[1:])) ** 0.5
            values = values * np.float32(scale)
        else:
            values = np.float32(name.endswith("weight")) + np.float32(0.1) * values
        tensors[name] = values
    np.savez(path, **tensors)
    return random


@pytest.fixture(scope="module")
def random(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.npz"
    images = random_file(path).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    return backbones.load(str(path)), images


def test_vectors_are_those_of_torch(random):
    backbone, images = random
    expected = toy.golden("efficientnet_lite0")["embedding"]
    actual = backbone.forward(backbone.variables, images)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    assert expected.std(0).mean() > 0.05  # the two images differ


def test_implementations_agree(random):
    backbone, images = random
    x = jnp.asarray(images[:1], jnp.float32) / 255
    stock, tiled = (
        jax.jit(efficientnet.EfficientNetLite0(how).apply)(backbone.variables, x)
        for how in ("stock", "tiled")
    )
    np.testing.assert_allclose(stock, tiled, rtol=1e-4, atol=1e-4)
