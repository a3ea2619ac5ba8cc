"""The convolution for CPUs: values and gradients against XLA's own, shape by shape."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dact_jax.models import canonical_conv, conv

# input, kernel, strides, padding
CASES = {
    "narrow": ((4, 9, 11, 16), (3, 3, 16, 64), (1, 1), ((1, 1), (1, 1))),
    "wide": ((2, 5, 6, 8), (3, 3, 8, 128), (1, 1), ((1, 1), (1, 1))),
    "one output": ((2, 6, 7, 3), (3, 3, 3, 1), (1, 1), ((1, 1), (1, 1))),
    "stride": ((3, 9, 10, 8), (3, 3, 8, 64), (2, 2), ((1, 1), (1, 1))),
    "stem": ((2, 17, 16, 3), (7, 7, 3, 64), (2, 2), ((3, 3), (3, 3))),
    "pointwise": ((2, 5, 6, 8), (1, 1, 8, 64), (1, 1), ((0, 0), (0, 0))),
    "narrowing": ((2, 5, 6, 64), (1, 1, 64, 8), (1, 1), ((0, 0), (0, 0))),
    "strided pointwise": ((2, 8, 7, 8), (1, 1, 8, 64), (2, 2), ((0, 0), (0, 0))),
    "padded pointwise": ((2, 5, 4, 8), (1, 1, 8, 64), (1, 1), ((1, 1), (2, 0))),
    "uneven": ((2, 7, 11, 2), (2, 4, 2, 3), (1, 3), ((1, 0), (0, 2))),
    "gaps": ((1, 8, 13, 2), (2, 2, 2, 3), (3, 4), ((0, 0), (1, 1))),
    "much padding": ((1, 4, 4, 2), (2, 2, 2, 3), (1, 1), ((3, 2), (2, 4))),
    "one pixel": ((3, 1, 1, 8), (3, 3, 8, 64), (1, 1), ((1, 1), (1, 1))),
    "one image": ((1, 6, 6, 4), (3, 3, 4, 64), (1, 1), ((0, 0), (0, 0))),
    "no image": ((0, 6, 6, 4), (3, 3, 4, 64), (1, 1), ((1, 1), (1, 1))),
    "no image, pointwise": ((0, 6, 6, 4), (1, 1, 4, 64), (2, 2), ((0, 0), (0, 0))),
}


def normal(seed, shape, dtype=jnp.float32):
    values = np.random.default_rng(seed).standard_normal(shape)
    return jnp.asarray(values, dtype)


def xla(x, kernel, strides, padding):
    return lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def value_and_gradients(function, x, kernel, strides, padding):
    """The output, and the gradients of its product with fixed random numbers."""

    @jax.jit
    def run(x, kernel):
        y, pull = jax.vjp(lambda *args: function(*args, strides, padding), x, kernel)
        return y, pull(normal(2, y.shape, y.dtype))

    return run(x, kernel)


@pytest.mark.parametrize("case", CASES)
def test_equals_xla(case):
    shape, kernel_shape, strides, padding = CASES[case]
    x, kernel = normal(0, shape), normal(1, kernel_shape)
    expected = value_and_gradients(xla, x, kernel, strides, padding)
    found = value_and_gradients(canonical_conv.convolve, x, kernel, strides, padding)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        expected,
        found,
    )


def test_sums_of_bfloat16_are_in_float32():
    """1024 ones and 1024 ones more: a sum in bfloat16 would stop at 256."""
    x, kernel = jnp.ones((1, 1, 1, 2048), jnp.bfloat16), jnp.ones((1, 1, 2048, 64))
    y, gradients = value_and_gradients(
        canonical_conv.convolve, x, kernel.astype(jnp.bfloat16), (1, 1), ((0, 0),) * 2
    )
    assert [leaf.dtype for leaf in (y, *gradients)] == [jnp.bfloat16] * 3
    np.testing.assert_array_equal(y.astype(jnp.float32), 2048)
    x, kernel = jnp.ones((2, 32, 32, 8), jnp.bfloat16), jnp.ones((3, 3, 8, 64))

    def total(kernel):
        y = canonical_conv.convolve(x, kernel, (1, 1), ((1, 1), (1, 1)))
        return y.astype(jnp.float32).sum()

    gradient = jax.grad(total)(kernel.astype(jnp.bfloat16)).astype(jnp.float32)
    np.testing.assert_array_equal(gradient[1, 1], 2048)  # every pixel of both images


def test_is_mapped_and_looped_as_it_is_called():
    """In a loop, XLA leaves a convolution as it is written."""
    x, kernel = normal(0, (3, 2, 6, 6, 8)), normal(1, (3, 3, 8, 64))
    function = functools.partial(
        canonical_conv.convolve, strides=(1, 1), padding=((1, 1), (1, 1))
    )
    one_by_one = jnp.stack([function(part, kernel) for part in x])
    mapped = jax.vmap(function, (0, None))(x, kernel)
    looped = jax.jit(lambda x: lax.map(lambda part: function(part, kernel), x))(x)
    np.testing.assert_allclose(mapped, one_by_one, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(looped, one_by_one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("outputs", [5, 64])
def test_by_shape_divides_a_long_batch(outputs, monkeypatch):
    """The last part is shorter than the others. Here there are several devices."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    x = normal(0, (2 * conv.IMAGES + 3, 5, 6, 2))
    kernel = normal(1, (3, 3, 2, outputs))

    def by_shape(x, kernel, strides, padding):
        return conv.convolve(
            x, kernel, strides=strides, padding=padding, implementation="by_shape"
        )

    given = (x, kernel, (1, 1), ((1, 0), (0, 1)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3),
        value_and_gradients(xla, *given),
        value_and_gradients(by_shape, *given),
    )


def test_no_gradient_of_a_convolution_is_reversed_in_a_loop():
    """XLA's fast form: channels last, no reversal; other forms are far slower."""
    x, kernel = normal(0, (2, 6, 6, 8)), normal(1, (3, 3, 8, 64))

    def loss(pair):
        y = canonical_conv.convolve(*pair, (1, 1), ((1, 1), (1, 1)))
        return jnp.square(y).sum()

    text = str(jax.make_jaxpr(jax.grad(loss))((x, kernel)))
    assert text.count("conv_general_dilated") == 3
    assert text.count("lhs_spec=(0, 3, 1, 2)") == 3
    assert text.count("rhs_spec=(3, 2, 0, 1)") == 3
    assert text.count("out_spec=(0, 3, 1, 2)") == 3
