"""Convolution and max-pooling, each in two formulations of the same function.

"stock" is XLA's own operation: right on GPU and TPU. On CPU, XLA's convolution with
few channels, any of its convolutions inside a loop (`lax.scan`), and the gradient of
its pooling are up to ten times slower than a matrix product and a maximum over shifted
slices: "tiled". Parameters do not depend on the choice.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

Formulation = Literal["stock", "tiled"]
Padding = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)

NO_PADDING: Padding = ((0, 0), (0, 0))


def uniform(fan_in: int) -> Callable[..., jax.Array]:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): torch's default, weights and biases alike."""

    def init(key, shape, dtype=jnp.float32):  # type: ignore[no-untyped-def]
        bound = 1 / math.sqrt(fan_in)
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Conv(nn.Module):
    """2-D convolution, channels last; kernel float32[kh, kw, C, features].

    Attributes:
      features: output channels.
      kernel_size: (kh, kw).
      strides: (vertical, horizontal).
      padding: explicit zeros; torch's padding=p is ((p, p), (p, p)).
      use_bias: whether a bias float32[features] is added.
      kernel_init: None for torch's default.
      formulation: how it is computed; the result is the same up to rounding.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = NO_PADDING
    use_bias: bool = True
    kernel_init: Callable[..., jax.Array] | None = None
    formulation: Formulation = "stock"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """float32[B, H, W, C] -> float32[B, H', W', features]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        fan_in = math.prod(shape[:3])
        kernel = self.param("kernel", self.kernel_init or uniform(fan_in), shape)
        y = convolve(
            x,
            kernel,
            strides=self.strides,
            padding=self.padding,
            formulation=self.formulation,
        )
        if not self.use_bias:
            return y
        bias = self.param("bias", uniform(fan_in), (self.features,))
        return y + bias[None, None, None]


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: Padding = NO_PADDING,
    formulation: Formulation = "stock",
) -> jax.Array:
    """Cross-correlation of float[B, H, W, C] with float[kh, kw, C, O].

    Returns:
      float[B, H', W', O].
    """
    if formulation == "stock":
        return lax.conv_general_dilated(
            x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    columns = (x.shape[2] - kernel.shape[1]) // strides[1] + 1
    return tiled(x, kernel, strides, tile_width(columns, kernel.shape, strides[1]))


def tile_width(columns: int, kernel: tuple[int, ...], stride: int) -> int:
    """How many output columns one row of the matrix product makes.

    A wider tile copies fewer overlapping inputs and makes a thin product wide, but
    multiplies more zeros: with t columns the product is u/kw times as long as the
    convolution, u = (t-1) stride + kw.

    Args:
      columns: width of the output.
      kernel: (kh, kw, C, O).
      stride: horizontal.
    """
    _, width, _, outputs = kernel
    copying = 128  # measured: to copy an input costs as much as that many products

    def cost(tile: int) -> int:
        inputs = -(-columns // tile) * ((tile - 1) * stride + width)
        return inputs * (tile * outputs + copying)

    return min(range(1, columns + 1), key=cost)


def tiled(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], tile: int
) -> jax.Array:
    """Convolution without padding as one product with a banded matrix.

    The inputs of `tile` neighbouring outputs, kh rows of u columns, form one row of
    the left factor; the right factor holds the kernel `tile` times, each shifted.

    Args:
      x: float[B, H, W, C].
      kernel: float[kh, kw, C, O].
      strides: (vertical, horizontal).
      tile: output columns made by one row.

    Returns:
      float[B, H', W', O].
    """
    height, width, channels, outputs = kernel.shape
    down, right = strides
    rows = (x.shape[1] - height) // down + 1
    columns = (x.shape[2] - width) // right + 1
    tiles = -(-columns // tile)
    step, span = tile * right, (tile - 1) * right + width  # u, of the docstring
    blocks = tiles - 1 + -(-span // step)

    x = x[:, :, : blocks * step]
    x = jnp.pad(x, ((0, 0), (0, 0), (0, blocks * step - x.shape[2]), (0, 0)))
    x = x.reshape(*x.shape[:2], blocks, step * channels)  # a tile starts at a block
    bottom = (rows - 1) * down + 1
    parts = [
        x[:, top : top + bottom : down, first : first + tiles, : length * channels]
        for top in range(height)
        for first, length in enumerate(range(span, 0, -step))
    ]
    patches = jnp.concatenate(parts, axis=-1)  # [B, H', tiles, kh u C]
    shifted = [
        jnp.pad(kernel, ((0, 0), (at, span - width - at), (0, 0), (0, 0)))
        for at in range(0, step, right)
    ]
    band = jnp.stack(shifted, axis=3).reshape(-1, tile * outputs)
    y = patches @ band  # [B, H', tiles, tile O]
    return y.reshape(*y.shape[:2], tiles * tile, outputs)[:, :, :columns]


def max_pool(
    x: jax.Array,
    *,
    window: tuple[int, int] = (2, 2),
    strides: tuple[int, int] = (2, 2),
    padding: Padding = NO_PADDING,
    formulation: Formulation = "stock",
) -> jax.Array:
    """Largest value in each window of float[B, H, W, C]; padding never wins.

    Where several values tie, "stock" gives the gradient to one of them and "tiled"
    shares it.
    """
    if formulation == "stock":
        return nn.max_pool(x, window, strides, padding)
    lowest = jnp.asarray(-jnp.inf, x.dtype)
    x = lax.pad(x, lowest, ((0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)))
    rows = (x.shape[1] - window[0]) // strides[0] + 1
    columns = (x.shape[2] - window[1]) // strides[1] + 1
    slices = (
        x[
            :,
            top : top + (rows - 1) * strides[0] + 1 : strides[0],
            left : left + (columns - 1) * strides[1] + 1 : strides[1],
        ]
        for top, left in itertools.product(range(window[0]), range(window[1]))
    )
    return functools.reduce(jnp.maximum, slices)
