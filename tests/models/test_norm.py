"""Batch normalisation against NumPy in float64, and torch's conventions."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from dact_jax.models import norm

SCALE = np.array([1.5, 0.5, -1.0], np.float32)
BIAS = np.array([0.0, 1.0, -2.0], np.float32)
MEAN = np.array([0.1, -0.2, 0.3], np.float32)
VARIANCE = np.array([1.0, 2.0, 0.5], np.float32)
VARIABLES = {
    "norm": {"scale": SCALE, "bias": BIAS},
    "stats": {"mean": MEAN, "variance": VARIANCE},
}


def normal(shape, offset=0.0):
    values = np.random.default_rng(0).standard_normal(shape) + offset
    return jnp.asarray(values, jnp.float32)


def train(x, variables=VARIABLES):
    return norm.BatchNorm().apply(variables, x, train=True, mutable=["stats"])


@pytest.mark.parametrize("shape", [(4, 5, 2, 3), (6, 3)])
def test_training_normalises_by_the_batch(shape):
    x = normal(shape, offset=2.0)
    y, updated = train(x)

    exact = np.asarray(x, np.float64).reshape(-1, 3)
    mean, variance = exact.mean(0), exact.var(0)
    expected = (exact - mean) / np.sqrt(variance + 1e-5) * SCALE + BIAS
    np.testing.assert_allclose(y, expected.reshape(shape), rtol=1e-5, atol=1e-5)
    stats = updated["stats"]
    np.testing.assert_allclose(stats["mean"], 0.9 * MEAN + 0.1 * mean, rtol=1e-5)
    unbiased = exact.var(0, ddof=1)
    np.testing.assert_allclose(
        stats["variance"], 0.9 * VARIANCE + 0.1 * unbiased, rtol=1e-5
    )


def test_evaluation_uses_and_keeps_the_running_moments():
    x = normal((4, 5, 2, 3))
    y, updated = norm.BatchNorm().apply(VARIABLES, x, train=False, mutable=["stats"])
    expected = (np.asarray(x, np.float64) - MEAN) / np.sqrt(VARIANCE + 1e-5)
    np.testing.assert_allclose(y, expected * SCALE + BIAS, rtol=1e-5, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, updated["stats"], VARIABLES["stats"])


def test_gradients():
    x, direction = normal((4, 3, 3, 3)), normal((4, 3, 3, 3))[::-1]

    @jax.jit
    def loss(x, terms):
        y, _ = train(x, VARIABLES | {"norm": terms})
        return jnp.vdot(y, direction)

    jax.test_util.check_grads(
        loss, (x, VARIABLES["norm"]), order=1, modes=["rev"], rtol=0.02, atol=0.02
    )


def test_variance_survives_a_large_mean():
    x = normal((64, 3), offset=1000.0)
    _, updated = train(x)
    batch = (updated["stats"]["variance"] - 0.9 * VARIANCE) / 0.1
    np.testing.assert_allclose(batch, np.var(np.float64(x), 0, ddof=1), rtol=1e-3)


def test_training_needs_two_values_per_channel():
    with pytest.raises(ValueError, match=r"\(1, 1, 1, 3\)"):
        train(normal((1, 1, 1, 3)))


def test_collections_and_first_values(key):
    variables = norm.BatchNorm().init(key, normal((2, 3)), train=True)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, VARIABLES)
    np.testing.assert_array_equal(variables["norm"]["scale"], 1)
    np.testing.assert_array_equal(variables["stats"]["variance"], 1)
    np.testing.assert_array_equal(variables["stats"]["mean"], 0)
