"""Heads: their equations, the place of the reversal, dropout and first values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax.models import heads
from dact_jax.types import Features

HEADS = {
    "linear": heads.Linear(3),
    "cosine": heads.Cosine(3),
    "two_layer": heads.TwoLayer(3, width=7),
    "bottleneck": heads.Bottleneck(3, rectify=True, dropout=0.5),
    "discriminator": heads.Discriminator(3, hidden=(8, 6)),
}


def features(embedding):
    return Features(jnp.asarray(embedding, jnp.float32), ())


@pytest.fixture
def embedding():
    return np.random.default_rng(0).standard_normal((2, 4, 5))


@pytest.mark.parametrize("name", HEADS)
def test_streams_and_batch_axes_are_kept(name, embedding, key):
    head = HEADS[name]
    params = head.init(key, features(embedding))
    out = head.apply(params, features(embedding))
    assert out.shape == (2, 4, 3)
    assert out.dtype == jnp.float32
    one = head.apply(params, features(embedding[1, 2]))
    np.testing.assert_allclose(out[1, 2], one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_reversal_changes_gradients_only(name, embedding, key):
    """What lies before the reversal gets -strength times the plain gradient."""
    head = HEADS[name]
    params = head.init(key, features(embedding))

    def loss(params, x, reverse):
        return jnp.sum(jnp.sin(head.apply(params, features(x), reverse=reverse)))

    x = jnp.asarray(embedding, jnp.float32)
    grad = jax.jit(jax.grad(loss, (0, 1)))
    (plain, plain_x), (turned, turned_x) = grad(params, x, None), grad(params, x, 0.3)
    np.testing.assert_allclose(loss(params, x, None), loss(params, x, 0.3))
    np.testing.assert_allclose(turned_x, -0.3 * plain_x, rtol=1e-4, atol=1e-6)
    for layer, leaves in plain["params"].items():
        sign = -0.3 if (name, layer) == ("two_layer", "fc1") else 1.0
        for leaf, value in leaves.items():
            np.testing.assert_allclose(
                turned["params"][layer][leaf], sign * value, rtol=1e-4, atol=1e-6
            )


def test_cosine_by_hand():
    params = {"params": {"fc": {"kernel": jnp.array([[1.0, 0.0], [0.0, 2.0]])}}}
    out = heads.Cosine(2, temperature=0.5).apply(params, features([[3.0, 4.0]]))
    np.testing.assert_allclose(out, [[0.6 / 0.5, 1.6 / 0.5]], rtol=1e-6)


def test_cosine_of_nothing_has_a_finite_gradient(key):
    """A dead embedding (all zero behind a ReLU) must not poison the encoder."""
    head = heads.Cosine(2)
    params = head.init(key, features(np.zeros((1, 4))))
    grad = jax.grad(lambda x: head.apply(params, features(x)).sum())(jnp.zeros((1, 4)))
    assert np.isfinite(grad).all()


def test_two_layer_by_hand():
    params = {
        "fc1": {"kernel": jnp.array([[1.0, 0.0], [0.0, 1.0]]), "bias": jnp.ones(2)},
        "fc2": {"kernel": jnp.array([[1.0], [2.0]])},
    }
    head = heads.TwoLayer(1, temperature=0.1, width=None)
    out = head.apply({"params": params}, features([[2.0, 3.0]]))
    np.testing.assert_allclose(out, [[(0.6 + 2 * 0.8) / 0.1]], rtol=1e-6)


def test_two_layer_takes_the_embeddings_width_if_none_is_given(embedding, key):
    params = heads.TwoLayer(3, width=None).init(key, features(embedding))["params"]
    assert params["fc1"]["kernel"].shape == (5, 5)
    assert set(params["fc2"]) == {"kernel"}


@pytest.mark.parametrize("name", ["bottleneck", "discriminator"])
def test_dropout_is_for_training(name, key):
    head = HEADS[name]
    x = features(np.ones((64, 5)))
    params = head.init(key, x)

    def drop(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return head.apply(params, x, train=True, rngs=rngs)

    np.testing.assert_array_equal(drop(1), drop(1))
    assert np.any(drop(1) != drop(2))
    plain = head.apply(params, x)
    np.testing.assert_array_equal(plain, np.broadcast_to(plain[0], plain.shape))


def test_first_values(key):
    x = features(np.zeros((1, 400)))
    torch = heads.Linear(300).init(key, x)["params"]["fc"]
    for leaf in torch.values():
        assert 0.95 / 20 < np.abs(leaf).max() <= 1 / 20
    xavier = heads.Linear(300, initial="xavier").init(key, x)["params"]["fc"]
    np.testing.assert_allclose(xavier["kernel"].std(), (2 / 700) ** 0.5, rtol=0.02)
    np.testing.assert_array_equal(xavier["bias"], 0)
