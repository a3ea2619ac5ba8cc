"""The classifier under dropout: what is left out, and that nothing else decides it."""

import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import plugins
from dact_jax.training import dropout_passes, inference
from dact_jax.types import Examples
from tests import toy

HEADS = ("classifier", "classifier.dropout")


def prepare(images):
    return images.astype(jnp.float32) / 255


def pictures(num=7):
    return np.random.default_rng(0).integers(0, 255, (num, 4, 4, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def swept():
    """swept(images, batch size) -> evidence, and the network's classifier."""
    network = toy.network(plugins.load("methods", "source_only", 3), toy.Normed())
    variables = toy.drawn(network, (4, 4, 1))
    forward = inference.make_forward(network, HEADS, prepare)

    def sweep(images, batch_size=4):
        examples = Examples(images, np.zeros(len(images), np.int32))
        return inference.sweep(forward, variables, examples, 0, batch_size=batch_size)

    return sweep, variables.params["classifier"]["fc"]


def test_passes_are_the_classifier_on_what_is_kept(swept):
    sweep, layer = swept
    images = pictures()
    evidence = sweep(images)
    kept = np.asarray(dropout_passes.kept(images, evidence.embedding.shape[1]))
    dropped = evidence.embedding[:, None] * kept / 0.25  # [N, 3, F]
    expected = dropped @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
    found = evidence.outputs["classifier.dropout"]
    assert found.shape == (7, 3, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_batches_and_order_change_nothing(swept):
    sweep, _ = swept
    images, order = pictures(), np.random.default_rng(1).permutation(7)
    expected = sweep(images).outputs["classifier.dropout"]
    for batch_size in (2, 16):
        found = sweep(images, batch_size).outputs["classifier.dropout"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    moved = sweep(images[order]).outputs["classifier.dropout"]
    np.testing.assert_allclose(moved, expected[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("vectors", [False, True])
def test_a_quarter_is_kept_in_passes_and_images_that_differ(vectors):
    images = np.repeat(pictures(1), 300, 0)
    images[np.arange(300), 0, np.arange(300) % 4, 0] = np.arange(300) % 256
    if vectors:  # which differ in their last bits
        images = np.nextafter(np.float32(1), 1 + images.astype(np.float32))
        images[:, 0, 0, 0] += np.arange(300, dtype=np.float32) * np.float32(2**-20)
    kept = np.asarray(dropout_passes.kept(images, 64))
    assert kept.shape == (300, 3, 64)
    assert abs(kept.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / kept.size)
    assert len(np.unique(images.reshape(300, -1), axis=0)) > 250
    different = np.unique(kept.reshape(-1, 64), axis=0)
    # Passes of one image, and of different images, have nothing in common.
    assert len(different) == 3 * len(np.unique(images.reshape(300, -1), axis=0))
    agree = (kept[:, 0] == kept[:, 1]).mean()
    assert abs(agree - (0.25**2 + 0.75**2)) < 0.02
    np.testing.assert_array_equal(kept, dropout_passes.kept(jnp.asarray(images), 64))


def test_a_forward_pass_without_it_is_as_before(swept):
    sweep, _ = swept
    network = toy.network(plugins.load("methods", "source_only", 3), toy.Normed())
    forward = inference.make_forward(network, ("classifier",), prepare)
    _, outputs = forward(toy.drawn(network, (4, 4, 1)), jnp.asarray(pictures()), 0)
    assert list(outputs) == ["classifier"]
    expected = sweep(pictures(), 7 + 1).outputs["classifier"]
    np.testing.assert_allclose(outputs["classifier"], expected, rtol=1e-5, atol=1e-6)
