"""Sweeps over a pool on all devices, and accuracies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import devices, errors, plugins
from dact_jax.training import inference
from dact_jax.types import TARGET, Examples
from tests import toy


class Read:
    """Images that are read by rows, like files."""

    def __init__(self, images):
        self.images, self.shape = images, images.shape

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        return self.images[rows]


def prepare(images):
    return images.astype(jnp.float32) / 255


@pytest.fixture(scope="module")
def network():
    """A network with two norm rows, its variables and its compiled forward pass."""
    method = plugins.load("methods", "source_only", 3)
    network = toy.network(method, toy.Normed(), num_norms=2)
    forward = inference.make_forward(network, ("classifier",), prepare)
    return network, toy.drawn(network, (4, 4, 1)), forward


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("batch_size", [2, 4, 16])  # 7 images: always a padded batch
def test_sweep_equals_one_forward_of_all(lazy, batch_size, network):
    network, variables, forward = network
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (7, 4, 4, 1)).astype(np.uint8)
    label = np.arange(7, dtype=np.int32)
    stored = Read(images) if lazy else jnp.asarray(images)
    evidence = inference.sweep(
        forward, variables, Examples(stored, label), TARGET, batch_size=batch_size
    )
    features, _ = network.encode(
        variables, prepare(jnp.asarray(images))[None], (TARGET,), train=False
    )
    logits = network.head(variables, "classifier", features)
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(evidence.embedding, features.embedding[0], **close)
    np.testing.assert_allclose(evidence.outputs["classifier"], logits[0], **close)
    np.testing.assert_array_equal(evidence.label, label)


def test_accuracy_counts_labelled_and_kept_rows():
    logits = np.eye(4, dtype=np.float32)
    label = np.array([0, 1, 0, -1])
    assert inference.accuracy(logits, label) == pytest.approx(2 / 3)
    keep = np.array([False, True, True, True])
    assert inference.accuracy(logits, label, keep) == 0.5
    for accuracy in (inference.accuracy, inference.mean_class_accuracy):
        with pytest.raises(ValueError, match="labelled"):
            accuracy(logits, label, np.array([False, False, False, True]))


def test_a_sweep_is_split_over_all_devices_by_default():
    assert jax.device_count() == 2
    shapes = []

    def forward(variables, images, domain):
        shapes.append([shard.data.shape for shard in images.addressable_shards])
        return jnp.zeros((4, 1)), {"classifier": jnp.zeros((4, 3))}

    images = np.zeros((7, 2, 2, 1), np.uint8)
    _sweep(forward, images)
    assert shapes == [[(2, 2, 2, 1)] * 2] * 2
    shapes.clear()
    _sweep(forward, images, sharding=devices.replicated(devices.make_mesh()))
    assert shapes == [[(4, 2, 2, 1)] * 2] * 2


def test_a_network_that_diverged_is_rejected():
    def forward(variables, images, domain):
        return jnp.zeros((4, 1)), {"classifier": jnp.full((4, 3), jnp.nan)}

    with pytest.raises(errors.DivergedError, match="classifier became NaN"):
        _sweep(forward, np.zeros((3, 2, 2, 1), np.uint8))


def test_embeddings_too_large_for_distances_are_rejected_as_divergence():
    def forward(variables, images, domain):
        return jnp.full((4, 1), 1e25), {"classifier": jnp.zeros((4, 3))}

    with pytest.raises(errors.DivergedError, match=r"embedding.*learning_rate"):
        _sweep(forward, np.zeros((3, 2, 2, 1), np.uint8))


def _sweep(forward, images, **options):
    return inference.sweep(
        forward,
        None,
        Examples(images, np.zeros(len(images), np.int32)),
        TARGET,
        batch_size=4,
        **options,
    )
