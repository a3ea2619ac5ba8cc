"""Convolution and pooling: both implementations against NumPy and each other."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax.models import conv

# input, kernel, strides, padding
CASES = {
    "lenet1": ((2, 12, 12, 1), (5, 5, 1, 20), (1, 1), ((0, 0), (0, 0))),
    "lenet2": ((2, 8, 10, 4), (5, 5, 4, 6), (1, 1), ((0, 0), (0, 0))),
    "stem": ((2, 15, 14, 3), (7, 7, 3, 8), (2, 2), ((3, 3), (3, 3))),
    "stage": ((1, 9, 9, 4), (3, 3, 4, 5), (2, 2), ((1, 1), (1, 1))),
    "pointwise": ((2, 7, 7, 3), (1, 1, 3, 4), (2, 2), ((0, 0), (0, 0))),
    "uneven": ((1, 7, 11, 2), (2, 4, 2, 3), (1, 3), ((1, 0), (0, 2))),
    "gaps": ((1, 8, 13, 2), (2, 2, 2, 3), (3, 4), ((0, 0), (1, 1))),
    "whole": ((2, 5, 5, 2), (5, 5, 2, 3), (1, 1), ((0, 0), (0, 0))),
}


def normal(seed, shape):
    values = np.random.default_rng(seed).standard_normal(shape)
    return jnp.asarray(values, jnp.float32)


def windows(x, size, strides, padding, fill):
    """float64[B, H', W', kh, kw, C] of the padded input."""
    pads = ((0, 0), *padding, (0, 0))
    x = np.pad(np.asarray(x, np.float64), pads, constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(x, size, (1, 2))
    return np.moveaxis(views[:, :: strides[0], :: strides[1]], 3, -1)


def oracle(x, kernel, strides, padding):
    views = windows(x, kernel.shape[:2], strides, padding, 0.0)
    return np.einsum("bijhwc,hwco->bijo", views, np.asarray(kernel, np.float64))


@pytest.mark.parametrize("case", CASES)
def test_implementations_agree_with_numpy(case):
    shape, kernel_shape, strides, padding = CASES[case]
    x, kernel = normal(0, shape), normal(1, kernel_shape)
    expected = oracle(x, kernel, strides, padding)
    weight = normal(2, expected.shape)

    def run(implementation):
        def loss(x, kernel):
            y = conv.convolve(
                x,
                kernel,
                strides=strides,
                padding=padding,
                implementation=implementation,
            )
            return jnp.vdot(y, weight), y

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(x, kernel)

    stock, tiled = run("stock"), run("tiled")
    np.testing.assert_allclose(stock[1], expected, rtol=1e-4, atol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        stock,
        tiled,
    )


@pytest.mark.parametrize("case", ["lenet2", "stem", "uneven", "gaps"])
def test_result_does_not_depend_on_the_tile_width(case):
    """Includes tiles that do not divide the width, and one as wide as the output."""
    shape, kernel_shape, strides, padding = CASES[case]
    x, kernel = normal(0, shape), normal(1, kernel_shape)
    expected = oracle(x, kernel, strides, padding)
    padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    for tile in range(1, expected.shape[2] + 1):
        y = jax.jit(conv.tiled, static_argnums=(2, 3))(padded, kernel, strides, tile)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_tile_width_is_within_the_output():
    for columns, size, outputs, stride in itertools.product(
        (1, 4, 28), (1, 3, 7), (20, 512), (1, 2)
    ):
        tile = conv.tile_width(columns, (size, size, 3, outputs), stride)
        assert 1 <= tile <= columns
    assert conv.tile_width(28, (1, 1, 64, 64), 1) == 1  # a tile would only add zeros
    assert conv.tile_width(24, (5, 5, 1, 20), 1) > 1


def test_implementations_share_parameters(key):
    x = normal(0, (2, 9, 9, 3))
    layer = {
        how: conv.Conv(4, (3, 3), implementation=how, padding=((1, 1), (1, 1)))
        for how in ("stock", "tiled")
    }
    variables = layer["stock"].init(key, x)
    assert jax.tree.map(jnp.shape, variables) == {
        "params": {"kernel": (3, 3, 3, 4), "bias": (4,)}
    }
    stock, tiled = (layer[how].apply(variables, x) for how in ("stock", "tiled"))
    np.testing.assert_allclose(stock, tiled, rtol=1e-5, atol=1e-5)
    no_bias = {"params": variables["params"] | {"bias": jnp.zeros(4)}}
    plain = conv.convolve(x, variables["params"]["kernel"], padding=((1, 1), (1, 1)))
    np.testing.assert_allclose(layer["stock"].apply(no_bias, x), plain, rtol=1e-6)


def test_default_init_is_uniform_within_one_over_root_of_fan_in(key):
    params = conv.Conv(64, (5, 5)).init(key, jnp.zeros((1, 5, 5, 4)))["params"]
    bound = 0.1  # 1 / sqrt(5 * 5 * 4)
    for leaf in params.values():
        assert 0.9 * bound < np.abs(leaf).max() <= bound
        assert np.abs(leaf.mean()) < 0.2 * bound
    np.testing.assert_allclose(params["kernel"].std(), bound / 3**0.5, rtol=0.05)


# input, window, strides, padding
POOLS = {
    "halves": ((2, 8, 6, 3), (2, 2), (2, 2), ((0, 0), (0, 0))),
    "odd": ((2, 7, 9, 3), (2, 2), (2, 2), ((0, 0), (0, 0))),
    "torchvision": ((2, 8, 9, 3), (3, 3), (2, 2), ((1, 1), (1, 1))),
    "mme": ((2, 8, 9, 3), (3, 3), (2, 2), ((0, 1), (0, 0))),
    "uneven": ((1, 9, 8, 2), (3, 2), (1, 3), ((2, 0), (0, 1))),
}


@pytest.mark.parametrize("case", POOLS)
def test_max_pool(case):
    shape, window, strides, padding = POOLS[case]
    x = normal(0, shape) - 5  # all negative: padding must not count as zero
    expected = windows(x, window, strides, padding, -np.inf).max((3, 4))
    weight = normal(1, expected.shape)

    def run(implementation):
        def loss(x):
            y = conv.max_pool(
                x,
                window=window,
                strides=strides,
                padding=padding,
                implementation=implementation,
            )
            return jnp.vdot(y, weight), y

        return jax.jit(jax.grad(loss, has_aux=True))(x)

    (stock_grad, stock), (tiled_grad, tiled) = run("stock"), run("tiled")
    np.testing.assert_array_equal(stock, np.float32(expected))
    np.testing.assert_array_equal(tiled, stock)
    np.testing.assert_allclose(tiled_grad, stock_grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("implementation", ["stock", "tiled"])
@pytest.mark.parametrize("case", ["stage", "uneven", "gaps"])
def test_depthwise(case, implementation):
    shape, size, strides, padding = CASES[case]
    x, kernel = normal(0, shape), normal(1, (*size[:2], 1, shape[-1]))
    views = windows(x, size[:2], strides, padding, 0.0)
    expected = np.einsum("bijhwc,hwc->bijc", views, np.float64(kernel)[:, :, 0])
    y = conv.depthwise(
        x, kernel, strides=strides, padding=padding, implementation=implementation
    )
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
