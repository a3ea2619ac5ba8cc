"""Heads: equations, gradient reversal, dropout and initial values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import plugins
from dact_jax.models import heads, model
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


def init(head, key, inputs):
    """What head.init returns: one compilation instead of one for each operation."""
    return jax.jit(head.init)(key, inputs)


def drawn(head, inputs):
    """Parameters of the same shapes from NumPy, which needs no compilation."""
    shapes = jax.eval_shape(head.init, jax.random.key(0), inputs)
    random = np.random.default_rng(3)

    def draw(leaf):
        return jnp.asarray(random.uniform(-0.5, 0.5, leaf.shape), leaf.dtype)

    return jax.tree.map(draw, shapes)


@pytest.fixture
def embedding():
    return np.random.default_rng(0).standard_normal((2, 4, 5))


@pytest.mark.parametrize("name", HEADS)
def test_streams_and_batch_axes_are_kept(name, embedding):
    head = HEADS[name]
    params = drawn(head, features(embedding))
    out = head.apply(params, features(embedding))
    assert out.shape == (2, 4, 3)
    assert out.dtype == jnp.float32
    one = head.apply(params, features(embedding[1, 2]))
    np.testing.assert_allclose(out[1, 2], one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_reversal_changes_gradients_only(name, embedding):
    """Before the reversal, gradients are multiplied by -strength."""
    head = HEADS[name]
    params = drawn(head, features(embedding))

    def loss(params, x, reverse):
        return jnp.sum(jnp.sin(head.apply(params, features(x), reverse=reverse)))

    x = jnp.asarray(embedding, jnp.float32)
    grad = jax.jit(jax.grad(loss, (0, 1)))
    (plain, plain_x), (reversed, reversed_x) = (
        grad(params, x, None),
        grad(params, x, 0.3),
    )
    np.testing.assert_allclose(loss(params, x, None), loss(params, x, 0.3))
    np.testing.assert_allclose(reversed_x, -0.3 * plain_x, rtol=1e-4, atol=1e-6)
    for layer, leaves in plain["params"].items():
        sign = -0.3 if (name, layer) == ("two_layer", "fc1") else 1.0
        for leaf, value in leaves.items():
            np.testing.assert_allclose(
                reversed["params"][layer][leaf], sign * value, rtol=1e-4, atol=1e-6
            )


def test_cosine_by_hand():
    params = {"params": {"fc": {"kernel": jnp.array([[1.0, 0.0], [0.0, 2.0]])}}}
    out = heads.Cosine(2, temperature=0.5).apply(params, features([[3.0, 4.0]]))
    np.testing.assert_allclose(out, [[0.6 / 0.5, 1.6 / 0.5]], rtol=1e-6)


def test_cosine_has_a_finite_gradient_at_zero():
    """An embedding that is all zero after a ReLU must not give NaN gradients."""
    head = heads.Cosine(2)
    params = drawn(head, features(np.zeros((1, 4))))
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


def test_two_layer_takes_the_embeddings_width_if_none_is_given(embedding):
    params = drawn(heads.TwoLayer(3, width=None), features(embedding))["params"]
    assert params["fc1"]["kernel"].shape == (5, 5)
    assert set(params["fc2"]) == {"kernel"}


@pytest.mark.parametrize("name", ["bottleneck", "discriminator"])
def test_dropout_is_for_training(name, key):
    head = HEADS[name]
    x = features(np.ones((64, 5)))
    params = drawn(head, x)

    def drop(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return head.apply(params, x, train=True, rngs=rngs)

    np.testing.assert_array_equal(drop(1), drop(1))
    assert np.any(drop(1) != drop(2))
    plain = head.apply(params, x)
    np.testing.assert_array_equal(plain, np.broadcast_to(plain[0], plain.shape))


def with_logits(embedding, num_classes=3, scale=1.0):
    random = np.random.default_rng(1)
    logits = scale * random.standard_normal((*embedding.shape[:-1], num_classes))
    return features(embedding)._replace(logits=jnp.asarray(logits, jnp.float32))


def test_classwise_discriminators_have_a_leading_axis_of_classes(embedding, key):
    head = heads.ClasswiseDiscriminator(3, hidden=(8, 6))
    inputs = with_logits(embedding)
    params = init(head, key, inputs)["params"]["each"]
    assert jax.tree.map(jnp.shape, params) == {
        "fc1": {"kernel": (3, 5, 8), "bias": (3, 8)},
        "fc2": {"kernel": (3, 8, 6), "bias": (3, 6)},
        "logits": {"kernel": (3, 6, 1), "bias": (3, 1)},
    }
    out = head.apply({"params": {"each": params}}, inputs)
    assert (out.shape, out.dtype) == ((2, 4, 3), jnp.float32)
    assert np.any(params["fc1"]["kernel"][0] != params["fc1"]["kernel"][1])


def test_a_certain_prediction_reaches_only_one_discriminator(embedding, key):
    head = heads.ClasswiseDiscriminator(3, hidden=(8, 6), dropout=0.0)
    inputs = with_logits(embedding)
    inputs = inputs._replace(logits=1e3 * jax.nn.one_hot(jnp.full((2, 4), 1), 3))
    params = init(head, key, inputs)
    out = head.apply(params, inputs)
    single = {"params": jax.tree.map(lambda w: w[1], params["params"]["each"])}
    plain = heads.Discriminator(1, hidden=(8, 6)).apply(single, inputs)
    np.testing.assert_allclose(out[..., 1], plain[..., 0], rtol=1e-4, atol=1e-8)
    np.testing.assert_array_equal(out[..., ::2], 0)  # biases start at 0


def test_classwise_discriminators_reverse_into_features_not_predictions(embedding):
    head = heads.ClasswiseDiscriminator(3, hidden=(8, 6), dropout=0.0)
    inputs = with_logits(embedding)
    params = drawn(head, inputs)

    def total(params, x, logits, reverse):
        inputs_of_head = Features(x, (), logits)
        return head.apply(params, inputs_of_head, reverse=reverse).sum()

    grad = jax.jit(jax.grad(total, (0, 1, 2)))
    plain, reversed = (
        grad(params, inputs.embedding, inputs.logits, reverse)
        for reverse in (None, 0.3)
    )
    jax.tree.map(np.testing.assert_allclose, reversed[0], plain[0])
    assert np.any(plain[1])
    np.testing.assert_allclose(reversed[1], -0.3 * plain[1], rtol=1e-5)
    np.testing.assert_array_equal(reversed[2], 0)
    np.testing.assert_array_equal(plain[2], 0)


def test_classwise_discriminators_have_independent_dropout(key):
    head = heads.ClasswiseDiscriminator(2, hidden=(64, 64))
    inputs = Features(jnp.ones((1, 5)), (), jnp.zeros((1, 2)))
    params = drawn(head, inputs)
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
    params = init(head, key, inputs)["params"]["each"]
    for name, deviation in (("fc1", 0.01), ("fc2", 0.01), ("logits", 0.3)):
        spread = params[name]["kernel"].std()
        np.testing.assert_allclose(spread, deviation, rtol=0.1)
        np.testing.assert_array_equal(params[name]["bias"], 0)


def staged(embedding, *widths):
    """Features with taps of these widths that do not depend on the embedding."""
    random = np.random.default_rng(2)
    taps = (random.standard_normal((*embedding.shape[:-1], width)) for width in widths)
    return features(embedding)._replace(
        taps=tuple(jnp.asarray(tap, jnp.float32) for tap in taps)
    )


@pytest.mark.parametrize("widths", [(6,), (2, 3, 4), (2, 3, 4, 5)])
def test_the_loss_predictor_reads_any_number_of_taps(widths, embedding):
    head, inputs = heads.PredictedLoss(width=8), staged(embedding, *widths)
    params = drawn(head, inputs)
    shapes = {
        f"fc{i}": {"kernel": (width, 8), "bias": (8,)}
        for i, width in enumerate(widths, 1)
    }
    shapes["linear"] = {"kernel": (8 * len(widths), 1), "bias": (1,)}
    assert jax.tree.map(jnp.shape, params["params"]) == shapes
    out = head.apply(params, inputs)
    assert (out.shape, out.dtype) == ((2, 4), jnp.float32)
    other = inputs._replace(embedding=inputs.embedding + 1)
    np.testing.assert_array_equal(head.apply(params, other), out)


def test_the_loss_predictor_by_hand():
    params = {
        "fc1": {"kernel": jnp.array([[1.0, -1.0]]), "bias": jnp.array([0.0, 1.0])},
        "fc2": {"kernel": jnp.array([[2.0, 2.0]]), "bias": jnp.array([0.0, -9.0])},
        "linear": {"kernel": jnp.array([[1.0], [5], [10], [50]]), "bias": jnp.ones(1)},
    }
    taps = (jnp.array([[3.0]]), jnp.array([[2.0]]))
    inputs = features([[7.0]])._replace(taps=taps)
    out = heads.PredictedLoss(width=2).apply({"params": params}, inputs)
    # fc1: 3 and -3 + 1 < 0; fc2: 4 and 4 - 9 < 0
    np.testing.assert_allclose(out, [1 * 3 + 10 * 4 + 1], rtol=1e-6)


def test_the_loss_predictor_reverses_into_every_tap(embedding):
    head, inputs = heads.PredictedLoss(width=8), staged(embedding, 2, 3)
    params = drawn(head, inputs)

    def total(params, taps, reverse):
        return head.apply(params, inputs._replace(taps=taps), reverse=reverse).sum()

    grad = jax.jit(jax.grad(total, (0, 1)))
    plain, reversed = (grad(params, inputs.taps, reverse) for reverse in (None, 0.3))
    assert toy.same(reversed[0], plain[0])
    assert all(np.any(tap) for tap in plain[1])
    scaled = jax.tree.map(lambda tap: -0.3 * tap, plain[1])
    assert toy.same(reversed[1], scaled, rtol=1e-5)


def test_the_loss_predictor_starts_as_torch_would(embedding, key):
    inputs = staged(embedding, 400)
    params = init(heads.PredictedLoss(width=100), key, inputs)["params"]
    for layer, bound in (("fc1", 1 / 20), ("linear", 1 / 10)):
        assert 0.9 * bound < np.abs(params[layer]["kernel"]).max() <= bound
        assert 0 < np.abs(params[layer]["bias"]).max() <= bound


def test_the_loss_predictor_needs_taps(embedding, key):
    with pytest.raises(ValueError, match="taps"):
        heads.PredictedLoss().init(key, features(embedding))


def make_network(**modules):
    """Heads on an encoder whose embedding is the pixels, and variables."""
    network = model.make_model(toy.Same(), modules, 1)
    return network, toy.drawn(network, (1, 1, 5))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def two_layer(params, x):
    first = params["fc1"]
    return unit(x @ np.asarray(first["kernel"]) + np.asarray(first["bias"]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", lambda params, x: x),
        ("cosine", lambda params, x: unit(x)),
        ("two_layer", two_layer),
    ],
)
def test_features_are_the_input_of_the_last_layer(name, expected, embedding):
    network, variables = make_network(classifier=HEADS[name])
    last_input = network.head(variables, "classifier.features", features(embedding))
    params = variables.params["classifier"]
    np.testing.assert_allclose(
        last_input, expected(params, embedding), rtol=1e-5, atol=1e-6
    )
    last = params["fc2" if name == "two_layer" else "fc"]
    logits = last_input @ last["kernel"] + last.get("bias", jnp.zeros(3))[None, None]
    np.testing.assert_allclose(
        logits / getattr(HEADS[name], "temperature", 1.0),
        network.head(variables, "classifier", features(embedding)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_features_of_a_head_that_reads_another(embedding):
    network, variables = make_network(
        first=heads.Linear(4), second=heads.Cosine(3, on="first")
    )
    inputs = features(embedding)
    last_input = network.head(variables, "second.features", inputs)
    expected = unit(network.head(variables, "first", inputs))
    np.testing.assert_allclose(last_input, expected, rtol=1e-5)


def test_features_are_those_of_evaluation(embedding, key):
    noisy = heads.Discriminator(4, hidden=(8,), dropout=0.9)
    network, variables = make_network(first=noisy, second=heads.Linear(3, on="first"))
    inputs = features(embedding)
    last_input = network.head(variables, "second.features", inputs, key=key)
    expected = network.head(variables, "first", inputs)
    np.testing.assert_array_equal(last_input, expected)


@pytest.mark.parametrize("name", ["bottleneck", "discriminator"])
def test_heads_without_features_are_rejected(name, embedding):
    network, variables = make_network(**{name: HEADS[name]})
    narrow = features(embedding[..., :3] if name == "bottleneck" else embedding)
    message = rf"'{name}' \({type(HEADS[name]).__name__}\).* features"
    with pytest.raises(ValueError, match=message):
        network.head(variables, f"{name}.features", narrow)


def test_features_are_neither_parameters_nor_outputs(embedding):
    for name in ("linear", "cosine", "two_layer"):
        params = drawn(HEADS[name], features(embedding))
        assert set(params) == {"params"}
        assert isinstance(HEADS[name].apply(params, features(embedding)), jax.Array)


def test_first_values(key):
    x = features(np.zeros((1, 400)))
    torch = init(heads.Linear(300), key, x)["params"]["fc"]
    for leaf in torch.values():
        assert 0.95 / 20 < np.abs(leaf).max() <= 1 / 20
    xavier = init(heads.Linear(300, initial="xavier"), key, x)["params"]["fc"]
    np.testing.assert_allclose(xavier["kernel"].std(), (2 / 700) ** 0.5, rtol=0.02)
    np.testing.assert_array_equal(xavier["bias"], 0)


@pytest.mark.parametrize("name", plugins.names("methods"))
def test_heads_keep_no_moments(name, key):
    """Bottlenecks and discriminators have no batch norm, only parameters."""
    options = plugins.options("methods", name)
    method = toy.small(name, **({"bottleneck": 4} if "bottleneck" in options else {}))
    inputs = Features(jnp.ones((1, 4)), (jnp.ones((1, 2)),), jnp.ones((1, 3)))
    for module in method.heads.values():
        assert set(jax.eval_shape(module.init, key, inputs)) == {"params"}
