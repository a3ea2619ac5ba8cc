"""Convolution on a CPU, with gradients in the form that XLA computes fast there.

XLA has a fast convolution for CPUs, which packs patches into the cache and multiplies
them with the kernel. It is used where the channels come last and the kernel is not
reversed. Outside of loops XLA brings every convolution into this form. In a loop it
does not, and the gradients are many times slower (docs/scaling.md). Here they are
written in this form.

One core does the work unless there are at least `WIDE` output channels. With fewer, the
kernel is repeated for `tile` neighboring outputs, shifted: they are channels of one
wider convolution.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

WIDE = 128  # output channels from which on XLA divides a convolution among cores
LONGEST_TILE = 4  # a longer one multiplies too many zeros of the repeated kernel
_LAYOUT = ("NHWC", "HWIO", "NHWC")
_NONE = ((0, 0), (0, 0))

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
    x: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding
) -> jax.Array:
    """Cross-correlation of float[B, H, W, C] with float[kh, kw, C, O].

    Returns:
      float[B, H', W', O], with sums in float32.
    """
    if kernel.shape[:2] == (1, 1) and padding == _NONE:
        return _product(x[:, :: strides[0], :: strides[1]], kernel[0, 0])
    return _banded(x, kernel, strides, padding)


def _forward(
    x: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # The barrier keeps XLA from computing x again, as part of what reads it, backward.
    x = lax.optimization_barrier(x)
    return convolve(x, kernel, strides, padding), (x, kernel)


def _backward(
    strides: Pair,
    padding: Padding,
    inputs: tuple[jax.Array, jax.Array],
    gradient: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Gradients for the image and the kernel."""
    x, kernel = inputs
    if kernel.shape[:2] == (1, 1) and padding == _NONE:
        return _product_gradients(x, kernel, gradient, strides)
    return (
        _image_gradient(x, kernel, gradient, strides, padding),
        _kernel_gradient(x, kernel, gradient, strides, padding),
    )


convolve.defvjp(_forward, _backward)


def _banded(
    x: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding
) -> jax.Array:
    """The convolution, with `tile` neighboring outputs as channels of a wider one."""
    height, width, _, outputs = kernel.shape
    down, right = strides
    rows = (x.shape[1] + sum(padding[0]) - height) // down + 1
    columns = (x.shape[2] + sum(padding[1]) - width) // right + 1
    tile = _tile(columns, outputs, right)
    tiles = -(-columns // tile)
    span = (tile - 1) * right + width  # columns of the input that a tile reads
    if tile > 1:
        kernel = _band(kernel, tile, right, span)
    left = padding[1][0]
    last = (tiles - 1) * tile * right + span - x.shape[2] - left
    y = _convolve(x, kernel, (down, tile * right), (padding[0], (left, last)))
    y = y.reshape(*y.shape[:2], tiles * tile, outputs)
    return y[:, :rows, :columns]


def _band(kernel: jax.Array, tile: int, right: int, span: int) -> jax.Array:
    """`tile` copies of the kernel, shifted by the stride: [kh, span, C, tile O]."""
    rest = span - kernel.shape[1]
    copies = [
        jnp.pad(kernel, ((0, 0), (at * right, rest - at * right), (0, 0), (0, 0)))
        for at in range(tile)
    ]
    return lax.optimization_barrier(jnp.concatenate(copies, 3))


def _tile(columns: int, outputs: int, right: int) -> int:
    """Number of neighboring outputs that are computed as channels of one."""
    if right > 1 or outputs >= WIDE:
        return 1
    return min(columns, LONGEST_TILE, -(-WIDE // outputs))


def _image_gradient(
    x: jax.Array,
    kernel: jax.Array,
    gradient: jax.Array,
    strides: Pair,
    padding: Padding,
) -> jax.Array:
    """The convolution of the gradient with the reversed kernel: float[B, H, W, C]."""
    reverse = lax.optimization_barrier(jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    rows, columns = (
        (
            kernel.shape[axis] - 1 - padding[axis][0],
            x.shape[1 + axis]
            + padding[axis][0]
            - (gradient.shape[1 + axis] - 1) * strides[axis]
            - 1,
        )
        for axis in (0, 1)
    )
    pads = (rows, columns)
    if strides == (1, 1):
        return _banded(gradient, reverse, strides, pads)
    return _convolve(gradient, reverse, (1, 1), pads, dilation=strides)


def _kernel_gradient(
    x: jax.Array,
    kernel: jax.Array,
    gradient: jax.Array,
    strides: Pair,
    padding: Padding,
) -> jax.Array:
    """The convolution of the image with the gradient, channels as the batch.

    The sum over the images of the batch is that over the channels of a convolution.
    """
    height, width, _, outputs = kernel.shape
    rows, columns = gradient.shape[1:3]
    down, right = strides
    tile = _tile(columns, outputs, right)
    tiles = -(-columns // tile)
    if tiles * tile > columns:
        rest = ((0, 0), (0, 0), (0, tiles * tile - columns), (0, 0))
        gradient = jnp.pad(gradient, rest)
    gradient = gradient.reshape(len(x), rows, tiles, tile * outputs)
    span = (tile - 1) * right + width
    top, left = padding[0][0], padding[1][0]
    bottom = (rows - 1) * down + height - x.shape[1] - top
    last = (tiles - 1) * tile * right + span - x.shape[2] - left
    # Barriers: what XLA would fuse into these copies is slower in their order.
    image, weight = lax.optimization_barrier((x, gradient))
    image = lax.optimization_barrier(image.transpose(3, 1, 2, 0))
    weight = lax.optimization_barrier(weight.transpose(1, 2, 0, 3))
    y = _convolve(
        image,
        weight,
        (1, 1),
        ((top, bottom), (left, last)),
        spread=(down, tile * right),
    )  # [C, kh, span, tile O]
    y = y.reshape(*y.shape[:3], tile, outputs)
    parts = [y[:, :, at * right : at * right + width, at] for at in range(tile)]
    return functools.reduce(jnp.add, parts).transpose(1, 2, 0, 3)


def _product_gradients(
    x: jax.Array, kernel: jax.Array, gradient: jax.Array, strides: Pair
) -> tuple[jax.Array, jax.Array]:
    """Gradients of a convolution with a 1x1 kernel: two products of matrices."""
    down, right = strides
    gradient = lax.optimization_barrier(gradient)
    flipped = lax.optimization_barrier(kernel[0, 0].T)
    image = _product(gradient, flipped)
    if strides != (1, 1):
        zero = jnp.zeros((), image.dtype)
        rows, columns = gradient.shape[1:3]
        rests = (
            (0, x.shape[1] - (rows - 1) * down - 1, down - 1),
            (0, x.shape[2] - (columns - 1) * right - 1, right - 1),
        )
        image = lax.pad(image, zero, ((0, 0, 0), *rests, (0, 0, 0)))
    inputs = lax.optimization_barrier(x[:, ::down, ::right])
    inputs = inputs.reshape(-1, x.shape[-1])
    gradient = gradient.reshape(-1, gradient.shape[-1])
    if inputs.shape[1] <= gradient.shape[1]:  # the narrower one is transposed
        product = _product(lax.optimization_barrier(inputs.T), gradient)
    else:
        product = _product(lax.optimization_barrier(gradient.T), inputs).T
    return image, product[None, None]


def _product(x: jax.Array, matrix: jax.Array) -> jax.Array:
    y = jnp.matmul(x, matrix, preferred_element_type=jnp.float32)
    return y.astype(x.dtype)


def _convolve(
    x: jax.Array,
    kernel: jax.Array,
    strides: Pair,
    padding: Padding,
    *,
    dilation: Pair = (1, 1),
    spread: Pair = (1, 1),
) -> jax.Array:
    """XLA's convolution; `dilation` is of the image, `spread` of the kernel."""
    y = lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        lhs_dilation=dilation,
        rhs_dilation=spread,
        dimension_numbers=_LAYOUT,
        preferred_element_type=jnp.float32,
    )
    return y.astype(x.dtype)
