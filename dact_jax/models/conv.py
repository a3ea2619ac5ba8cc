"""Convolution and max-pooling, each with three implementations of the same function.

"stock" is XLA's operation, the best choice on GPU and TPU. "tiled" computes
convolution as a matrix product, a depthwise one as a sum over shifted slices, and
pooling as their maximum. On CPU it is up to ten times faster for convolutions with few
channels, depthwise ones, convolutions inside a loop (`lax.scan`) and for the gradient
of pooling. "by_shape" is "tiled" for convolutions with few outputs, and the form of
`canonical_conv` for the others, which is the fastest on CPU. Parameters do not depend
on the implementation.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dact_jax.models import canonical_conv

Implementation = Literal["stock", "tiled", "by_shape"]
Padding = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)

NO_PADDING: Padding = ((0, 0), (0, 0))
MANY_OUTPUTS = 64  # from which on `canonical_conv` is faster than `tiled`
IMAGES = 64  # of one product of `tiled`: what it copies stays in the cache
MAX_PARTS = 8  # products of one convolution; each is compiled anew


def uniform(fan_in: int) -> Callable[..., jax.Array]:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), torch's default for weights and biases."""

    def init(key, shape, dtype=jnp.float32):  # type: ignore[no-untyped-def]
        bound = 1 / math.sqrt(fan_in)
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Conv(nn.Module):
    """2-D convolution, channels last; kernel float32[kh, kw, C, features].

    Attributes:
      features: number of output channels.
      kernel_size: (kh, kw).
      strides: (vertical, horizontal).
      padding: number of zeros on each side; torch's padding=p is ((p, p), (p, p)).
      use_bias: whether a bias float32[features] is added.
      kernel_init: None: torch's default.
      implementation: results are equal up to rounding.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = NO_PADDING
    use_bias: bool = True
    kernel_init: Callable[..., jax.Array] | None = None
    implementation: Implementation = "stock"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """float[B, H, W, C] -> float[B, H', W', features]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        fan_in = math.prod(shape[:3])
        kernel = self.param("kernel", self.kernel_init or uniform(fan_in), shape)
        y = convolve(
            x,
            kernel,
            strides=self.strides,
            padding=self.padding,
            implementation=self.implementation,
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
    implementation: Implementation = "stock",
) -> jax.Array:
    """Cross-correlation of float[B, H, W, C] with float[kh, kw, C, O].

    Returns:
      float[B, H', W', O].
    """
    if implementation == "stock":
        return lax.conv_general_dilated(
            x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    if implementation == "by_shape" and kernel.shape[-1] >= MANY_OUTPUTS:
        return canonical_conv.convolve(x, kernel, strides, padding)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    columns = (x.shape[2] - kernel.shape[1]) // strides[1] + 1
    tile = tile_width(columns, kernel.shape, strides[1])
    # A part of a batch that lies on several devices would be moved between them.
    if implementation == "tiled" or len(x) <= IMAGES or jax.device_count() > 1:
        return tiled(x, kernel, strides, tile)
    size = max(IMAGES, -(-len(x) // MAX_PARTS))
    parts = [x[first : first + size] for first in range(0, len(x), size)]
    return jnp.concatenate([tiled(part, kernel, strides, tile) for part in parts])


def depthwise(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, int] = (1, 1),
    padding: Padding = NO_PADDING,
    implementation: Implementation = "stock",
) -> jax.Array:
    """Cross-correlation of each channel of float[B, H, W, C] with its own kernel.

    Args:
      kernel: float[kh, kw, 1, C].

    Returns:
      float[B, H', W', C].
    """
    if implementation == "stock":
        return lax.conv_general_dilated(
            x,
            kernel,
            strides,
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[-1],
        )
    # Written out once: inside the sum, every term would test where the image ends.
    x = lax.optimization_barrier(jnp.pad(x, ((0, 0), *padding, (0, 0))))
    terms = (
        part.astype(jnp.float32) * kernel[row, column][None, None].astype(jnp.float32)
        for row, column, part in _shifts(x, kernel.shape[:2], strides)
    )
    return functools.reduce(jnp.add, terms).astype(x.dtype)


def tile_width(columns: int, kernel: tuple[int, ...], stride: int) -> int:
    """Number of output columns that one row of the matrix product of `tiled` yields.

    A wider tile copies fewer overlapping inputs, but multiplies more zeros: with t
    columns a tile, the product does u/kw times the multiplications of the convolution,
    where u = (t-1) stride + kw.

    Args:
      columns: width of the output.
      kernel: shape (kh, kw, C, O).
      stride: horizontal.
    """
    _, width, _, outputs = kernel
    copying = 128  # measured cost of copying one input, in multiplications

    def cost(tile: int) -> int:
        inputs = -(-columns // tile) * ((tile - 1) * stride + width)
        return inputs * (tile * outputs + copying)

    return min(range(1, columns + 1), key=cost)


def tiled(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], tile: int
) -> jax.Array:
    """Convolution without padding as one product with a banded matrix.

    Each row of the left factor holds the kh x u inputs of `tile` neighboring outputs,
    u = (tile - 1) stride + kw. The right factor holds `tile` shifted copies of the
    kernel.

    Args:
      x: float[B, H, W, C].
      kernel: float[kh, kw, C, O].
      strides: (vertical, horizontal).
      tile: number of output columns per row of the product, see `tile_width`.

    Returns:
      float[B, H', W', O].
    """
    height, width, channels, outputs = kernel.shape
    down, right = strides
    rows = (x.shape[1] - height) // down + 1
    columns = (x.shape[2] - width) // right + 1
    tiles = -(-columns // tile)
    step, span = tile * right, (tile - 1) * right + width  # span: u
    blocks = tiles - 1 + -(-span // step)

    x = x[:, :, : blocks * step]
    x = jnp.pad(x, ((0, 0), (0, 0), (0, blocks * step - x.shape[2]), (0, 0)))
    x = x.reshape(*x.shape[:2], blocks, step * channels)  # tile i starts at block i
    bottom = (rows - 1) * down + 1
    parts = [
        x[:, top : top + bottom : down, first : first + tiles, : length * channels]
        for top in range(height)
        for first, length in enumerate(range(span, 0, -step))
    ]
    patches = jnp.concatenate(parts, axis=-1)  # [B, H', tiles, kh u C]
    shifted = [
        jnp.pad(kernel, ((0, 0), (shift, span - width - shift), (0, 0), (0, 0)))
        for shift in range(0, step, right)
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
    implementation: Implementation = "stock",
) -> jax.Array:
    """Maximum over each window of float[B, H, W, C]; padding counts as -inf.

    If several values tie, "stock" passes the gradient to one of them; the others divide
    it among them.
    """
    if implementation == "stock":
        return nn.max_pool(x, window, strides, padding)
    lowest = jnp.asarray(-jnp.inf, x.dtype)
    x = lax.pad(x, lowest, ((0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)))
    slices = (part for _, _, part in _shifts(x, window, strides))
    return functools.reduce(jnp.maximum, slices)


def _shifts(
    x: jax.Array, window: tuple[int, ...], strides: tuple[int, int]
) -> Iterator[tuple[int, int, jax.Array]]:
    """What each place (row, column) of a window sees: float[B, H', W', C]."""
    rows = (x.shape[1] - window[0]) // strides[0] + 1
    columns = (x.shape[2] - window[1]) // strides[1] + 1
    for top, left in itertools.product(range(window[0]), range(window[1])):
        down = slice(top, top + (rows - 1) * strides[0] + 1, strides[0])
        right = slice(left, left + (columns - 1) * strides[1] + 1, strides[1])
        yield top, left, x[:, down, right]
