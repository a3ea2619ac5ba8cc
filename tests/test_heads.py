"""Heads: their equations, the place of the reversal, dropout and first values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import plugins
from dact_jax.models import heads
from dact_jax.types import Features
from tests import toy

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


def beside(embedding, num_classes=3, scale=1.0):
    random = np.random.default_rng(1)
    logits = scale * random.standard_normal((*embedding.shape[:-1], num_classes))
    return features(embedding)._replace(logits=jnp.asarray(logits, jnp.float32))


def test_classwise_discriminators_have_a_leading_axis_of_classes(embedding, key):
    head = heads.ClasswiseDiscriminator(3, hidden=(8, 6))
    inputs = beside(embedding)
    params = head.init(key, inputs)["params"]["each"]
    assert jax.tree.map(jnp.shape, params) == {
        "fc1": {"kernel": (3, 5, 8), "bias": (3, 8)},
        "fc2": {"kernel": (3, 8, 6), "bias": (3, 6)},
        "logits": {"kernel": (3, 6, 1), "bias": (3, 1)},
    }
    out = head.apply({"params": {"each": params}}, inputs)
    assert (out.shape, out.dtype) == ((2, 4, 3), jnp.float32)
    assert np.any(params["fc1"]["kernel"][0] != params["fc1"]["kernel"][1])


def test_a_certain_prediction_reaches_one_discriminator_only(embedding, key):
    head = heads.ClasswiseDiscriminator(3, hidden=(8, 6), dropout=0.0)
    inputs = beside(embedding)
    inputs = inputs._replace(logits=1e3 * jax.nn.one_hot(jnp.full((2, 4), 1), 3))
    params = head.init(key, inputs)
    out = head.apply(params, inputs)
    single = {"params": jax.tree.map(lambda w: w[1], params["params"]["each"])}
    plain = heads.Discriminator(1, hidden=(8, 6)).apply(single, inputs)
    np.testing.assert_allclose(out[..., 1], plain[..., 0], rtol=1e-4, atol=1e-8)
    np.testing.assert_array_equal(out[..., ::2], 0)  # biases start at 0


def test_classwise_discriminators_reverse_into_features_not_predictions(embedding, key):
    head = heads.ClasswiseDiscriminator(3, hidden=(8, 6), dropout=0.0)
    inputs = beside(embedding)
    params = head.init(key, inputs)

    def total(params, x, logits, reverse):
        given = Features(x, (), logits)
        return 1e4 * head.apply(params, given, reverse=reverse).sum()

    grad = jax.jit(jax.grad(total, (0, 1, 2)))
    plain, turned = (
        grad(params, inputs.embedding, inputs.logits, reverse)
        for reverse in (None, 0.3)
    )
    jax.tree.map(np.testing.assert_allclose, turned[0], plain[0])
    assert np.any(plain[1])
    np.testing.assert_allclose(turned[1], -0.3 * plain[1], rtol=1e-5)
    np.testing.assert_array_equal(turned[2], 0)
    np.testing.assert_array_equal(plain[2], 0)


def test_each_classwise_discriminator_drops_on_its_own(key):
    head = heads.ClasswiseDiscriminator(2, hidden=(64, 64))
    inputs = Features(jnp.ones((1, 5)), (), jnp.zeros((1, 2)))
    params = head.init(key, inputs)
    twins = jax.tree.map(lambda w: jnp.stack([w[0], w[0]]), params)

    def drop(seed):
        return head.apply(
            twins, inputs, train=True, rngs={"dropout": jax.random.key(seed)}
        )[0]

    assert drop(1)[0] != drop(1)[1]
    np.testing.assert_array_equal(drop(1), drop(1))
    assert np.all(drop(1) != drop(2))
    plain = head.apply(twins, inputs)[0]
    np.testing.assert_array_equal(plain[0], plain[1])


def test_first_values_of_classwise_discriminators(key):
    head = heads.ClasswiseDiscriminator(3, hidden=(300, 200))
    inputs = Features(jnp.zeros((1, 100)), (), jnp.zeros((1, 3)))
    params = head.init(key, inputs)["params"]["each"]
    for name, deviation in (("fc1", 0.01), ("fc2", 0.01), ("logits", 0.3)):
        spread = params[name]["kernel"].std()
        np.testing.assert_allclose(spread, deviation, rtol=0.1)
        np.testing.assert_array_equal(params[name]["bias"], 0)


def test_first_values(key):
    x = features(np.zeros((1, 400)))
    torch = heads.Linear(300).init(key, x)["params"]["fc"]
    for leaf in torch.values():
        assert 0.95 / 20 < np.abs(leaf).max() <= 1 / 20
    xavier = heads.Linear(300, initial="xavier").init(key, x)["params"]["fc"]
    np.testing.assert_allclose(xavier["kernel"].std(), (2 / 700) ** 0.5, rtol=0.02)
    np.testing.assert_array_equal(xavier["bias"], 0)


@pytest.mark.parametrize("name", plugins.names("methods"))
def test_heads_keep_no_moments(name, key):
    """Nothing but parameters: no batch norm in bottlenecks and discriminators."""
    options = plugins.options("methods", name)
    method = toy.small(name, **({"bottleneck": 4} if "bottleneck" in options else {}))
    inputs = Features(jnp.ones((1, 4)), (), jnp.ones((1, 3)))
    for module in method.heads.values():
        assert set(module.init(key, inputs)) == {"params"}
