import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from dact_jax import ops


def test_reverse_gradient_is_minus_strength_times_the_plain_gradient(key):
    x = jax.random.normal(key, (3, 4))
    plain = jax.grad(lambda x: jnp.sum(jnp.sin(x)))(x)
    strength = jax.jit(
        lambda s: jax.grad(lambda x: jnp.sum(jnp.sin(ops.reverse_gradient(x, s))))(x)
    )
    np.testing.assert_array_equal(ops.reverse_gradient(x, 0.3), x)
    for s in (0.0, 0.3, 1.0):  # traced: a schedule
        np.testing.assert_allclose(strength(jnp.float32(s)), -s * plain, rtol=1e-6)


def test_strength_gets_no_gradient(key):
    x = jax.random.normal(key, (3,))
    grad = jax.grad(lambda s: jnp.sum(ops.reverse_gradient(x, s) ** 2))(jnp.float32(2))
    assert grad == 0


def test_cross_entropy_ignores_rows_without_label():
    logits = jnp.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [5.0, 5.0, -5.0]])
    by_hand = np.mean(
        [np.log(np.e**2 + 2) - 2, np.log(np.e + 2) - 1]  # rows 0 and 1
    )
    label = jnp.array([0, 1, -1], jnp.int32)
    np.testing.assert_allclose(ops.cross_entropy(logits, label), by_hand, rtol=1e-6)


def test_cross_entropy_without_labels_and_its_gradient_are_zero():
    unlabelled = jnp.full(2, -1, jnp.int32)
    loss, grad = jax.value_and_grad(ops.cross_entropy)(jnp.ones((2, 3)), unlabelled)
    assert loss == 0
    np.testing.assert_array_equal(grad, 0)


def test_entropy_by_hand():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [1.0, 1.0, 1.0]]))
    expected = -np.mean(
        [0.5 * np.log(0.50001) + 0.5 * np.log(0.25001), np.log(1 / 3 + 1e-5)]
    )
    np.testing.assert_allclose(ops.entropy(logits), expected, rtol=1e-5)


def test_gradients(key):
    logits = jax.random.normal(key, (4, 5))
    label = jnp.array([0, 4, -1, 2], jnp.int32)
    check_grads(ops.entropy, (logits,), order=1, modes=["rev"], rtol=1e-2)
    check_grads(
        lambda z: ops.cross_entropy(z, label), (logits,), 1, modes=["rev"], rtol=1e-2
    )
    check_grads(ops.normalize, (logits,), order=1, modes=["rev"], rtol=1e-2)


def test_normalize_has_a_finite_gradient_at_zero():
    grad = jax.grad(lambda x: jnp.sum(ops.normalize(x)))(jnp.zeros((1, 3)))
    assert np.isfinite(grad).all()
