"""Which numbers are bfloat16, and which are float32 in any precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from dact_jax.models import conv, heads, lenet, mlp, model, norm, precisions, resnet
from dact_jax.training import inference
from dact_jax.types import Features
from tests import toy

HEADS = {
    "bottleneck": heads.Bottleneck(6, rectify=True, dropout=0.5),
    "classifier": heads.Cosine(3),
    "two_layer": heads.TwoLayer(3, width=5),
    "linear": heads.Linear(3, on="two_layer"),
    "discriminator": heads.Discriminator(1, hidden=(8,)),
    "classwise": heads.ClasswiseDiscriminator(3, hidden=(8,), deviations=(0.1, 0.1)),
    "predicted_loss": heads.PredictedLoss(8),
}
ENCODERS = {
    "lenet": (lenet.LeNet(width=16, batch_norm=True), (16, 16, 1)),
    "tiled lenet": (lenet.LeNet(width=16, implementation="tiled"), (16, 16, 1)),
    "resnet": (
        resnet.ResNet((1, 1), resnet.basic, implementation="tiled"),
        (32, 32, 3),
    ),
    "bottlenecks": (resnet.ResNet((1, 1), resnet.bottleneck), (32, 32, 3)),
    "mlp": (mlp.MLP((8, 8)), (1, 1, 6)),
}


def products(jaxpr):
    """Every matrix product and convolution of a program, also of those in it."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield equation
        for inner in core.jaxprs_in_params(equation.params):
            yield from products(inner)


def train(network, variables, images, key):
    """The sum of all outputs in training, and everything that is returned."""
    features, after = network.encode(
        variables, images, (0,), train=True, key=jax.random.key(1)
    )
    outputs = [
        network.head(variables, name, features, reverse=0.5, key=key) for name in HEADS
    ]
    total = sum(jnp.sum(jnp.square(output)) for output in outputs)
    return total, (features, after, outputs)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_all_products_have_the_precision_and_all_results_are_float32(
    encoder, precision, key
):
    module, shape = ENCODERS[encoder]
    network = model.make_model(module, HEADS, 1, precision=precision)
    variables = jax.eval_shape(lambda key: network.init(key, shape), key)
    images = jax.ShapeDtypeStruct((1, 4, *shape), np.float32)
    compute = jax.value_and_grad(train, argnums=1, has_aux=True)

    def step(variables, images):
        return compute(network, variables, images, key)

    results = jax.eval_shape(step, variables, images)
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype("float32")}
    found = list(products(jax.make_jaxpr(step)(variables, images).jaxpr))
    assert len(found) > 30
    for equation in found:
        assert {value.aval.dtype for value in equation.invars} == {jnp.dtype(precision)}
        if precision == "float32":  # not TF32 on a GPU, not bfloat16 on a TPU
            assert equation.params["precision"] == (jax.lax.Precision.HIGHEST,) * 2


def test_the_precision_of_a_float32_network_is_not_the_setting_of_jax(key):
    network = model.make_model(toy.Flat(), {"classifier": heads.Linear(2)}, 1)
    variables = toy.drawn(network, (1, 1, 4))
    images = jnp.zeros((1, 2, 1, 1, 4))

    def logits(images):
        features, _ = network.encode(variables, images, (0,), train=False)
        return network.head(variables, "classifier", features)

    with jax.default_matmul_precision("bfloat16"):
        found = list(products(jax.make_jaxpr(logits)(images).jaxpr))
    assert [equation.params["precision"] for equation in found] == [
        (jax.lax.Precision.HIGHEST,) * 2
    ] * 2


def test_sweeps_are_those_of_a_float32_network(key):
    encoder = lenet.LeNet(width=16, batch_norm=True, implementation="tiled")
    classifier = {"classifier": heads.Linear(3)}
    exact, halved = (
        model.make_model(encoder, classifier, 2, precision=precision)
        for precision in ("float32", "bfloat16")
    )
    variables = toy.drawn(exact, (16, 16, 1))
    images = jax.random.normal(key, (4, 16, 16, 1))
    swept = [
        inference.make_forward(network, ("classifier",), lambda x: x)(
            variables, images, 1
        )
        for network in (exact, halved)
    ]
    assert toy.same(*swept)
    features, _ = halved.encode(variables, images[None], (1,), train=False)
    assert not toy.same(features.embedding[0], swept[0][0])
    assert toy.same(features.embedding[0], swept[0][0], rtol=0.05, atol=0.05)


def test_outputs_of_heads_are_sums_in_float32(key):
    """Only the factors are rounded: the logits of a bfloat16 product would be too."""
    network = model.make_model(
        toy.Same(), {"classifier": heads.Linear(3)}, 1, precision="bfloat16"
    )
    variables = toy.drawn(network, (1, 1, 300))
    x = jax.random.normal(key, (1, 5, 300))
    classifier = variables.params["classifier"]["fc"]
    rounded = [
        np.asarray(value.astype(jnp.bfloat16), np.float64)
        for value in (x[0], classifier["kernel"])
    ]
    expected = rounded[0] @ rounded[1] + np.asarray(classifier["bias"])
    logits = network.head(variables, "classifier", Features(x, ()))
    np.testing.assert_allclose(logits[0], expected, rtol=1e-5, atol=1e-5)


def test_gradients_of_a_product_are_those_of_its_rounded_factors(key):
    x, kernel, weight = (
        jax.random.normal(jax.random.key(seed), shape)
        for seed, shape in enumerate([(2, 5, 8), (8, 3), (2, 5, 3)])
    )

    def total(x, kernel, dtype):
        kernel = kernel.astype(dtype)
        dimensions = (((2,), (0,)), ((), ()))
        return jnp.sum(weight * precisions.dot_general(x, kernel, dimensions))

    found, expected = (
        jax.grad(total, (0, 1))(x, kernel, dtype)
        for dtype in (jnp.bfloat16, jnp.float32)
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == jnp.float32
        error = jnp.linalg.norm(ours - theirs) / jnp.linalg.norm(theirs)
        assert 0 < error < 2**-7


def test_moments_of_batch_norm_are_float32(key):
    """In bfloat16, the mean of 4000 values near 3 would be wrong in the third digit."""
    x = 3 + jax.random.normal(key, (4000, 2))
    module = norm.BatchNorm(momentum=1.0)
    variables = module.init(key, x, train=False)
    rounded = x.astype(jnp.bfloat16)
    y, updated = module.apply(variables, rounded, train=True, mutable=["stats"])
    moments = updated["stats"]
    exact = np.asarray(rounded, np.float64)
    assert y.dtype == jnp.bfloat16
    assert moments["mean"].dtype == moments["variance"].dtype == jnp.float32
    np.testing.assert_allclose(moments["mean"], exact.mean(0), rtol=1e-5)
    np.testing.assert_allclose(moments["variance"], exact.var(0, ddof=1), rtol=1e-4)
    normal = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5)
    np.testing.assert_allclose(np.asarray(y, np.float64), normal, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("implementation", ["stock", "tiled"])
def test_convolutions_and_pooling_keep_bfloat16(implementation, key):
    x = jax.random.normal(key, (2, 9, 9, 6))
    dense = jax.random.normal(jax.random.key(1), (3, 3, 6, 5))
    thin = jax.random.normal(jax.random.key(2), (5, 5, 1, 6))

    def compute(dtype):
        a, b, c = (value.astype(dtype) for value in (x, dense, thin))
        return (
            conv.convolve(a, b, strides=(2, 2), implementation=implementation),
            conv.depthwise(a, c, implementation=implementation),
            conv.max_pool(a, implementation=implementation),
        )

    for found, exact in zip(compute(jnp.bfloat16), compute(jnp.float32), strict=True):
        assert found.dtype == jnp.bfloat16
        error = jnp.abs(found.astype(jnp.float32) - exact).max()
        assert error <= 2**-6 * jnp.abs(exact).max()
