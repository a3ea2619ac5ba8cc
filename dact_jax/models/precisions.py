"""In what dtype a network computes; what is kept and returned is float32 always.

In "bfloat16" the convolutions and matrix products of an encoder, and the activations
between them, are bfloat16, and so are the factors of the products in heads. Moments of
batch norm, spatial means, sums of products, biases and outputs of heads are float32.
"""

import contextlib
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax

from dact_jax.types import PyTree

Precision = Literal["float32", "bfloat16"]
ALL: tuple[Precision, ...] = get_args(Precision)

_HALVED = ("gpu", "tpu")  # backends that multiply bfloat16 several times as fast


def of_device() -> Precision:
    """What "auto" stands for on the devices of this process."""
    return "bfloat16" if jax.default_backend() in _HALVED else "float32"


def products(precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """Decides how the products are computed that are traced within it.

    By default, GPUs round the factors of float32 products to 10 bits (TF32), and TPUs
    to 7 (bfloat16). float32 here means all 23.
    """
    return jax.default_matmul_precision(
        "highest" if precision == "float32" else "default"
    )


def cast(tree: PyTree, precision: Precision) -> PyTree:
    """All arrays in a dtype."""
    return jax.tree.map(lambda leaf: leaf.astype(precision), tree)


def cast_kernels(params: PyTree, precision: Precision) -> PyTree:
    """The arrays named "kernel" in the dtype of products; others as they are."""

    def of(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        name = getattr(path[-1], "key", None)
        return leaf.astype(precision) if name == "kernel" else leaf

    return jax.tree_util.tree_map_with_path(of, params)


def keep_dtypes(
    *arrays: jax.Array | None, dtype: Any = None, inexact: bool = True
) -> list[jax.Array | None]:
    """For `flax.linen.Dense`: inputs, kernel and bias as they are."""
    del dtype, inexact
    return list(arrays)


def dot_general(
    x: jax.Array, kernel: jax.Array, dimensions: Any, **options: Any
) -> jax.Array:
    """For `flax.linen.Dense`: its product, with a float32 sum where the kernel is not.

    Args:
      x: float32[..., F].
      kernel: float[F, H].

    Returns:
      float32[..., H].
    """
    if kernel.dtype == x.dtype:
        return lax.dot_general(x, kernel, dimensions, **options)
    return _product(x, kernel)


@jax.custom_vjp
def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """float32[..., F] x bfloat16[F, H] -> float32[..., H].

    Its gradients are products of bfloat16 factors too. By themselves they would have a
    float32 factor, which GPUs multiply slowly.
    """
    return jnp.matmul(
        x.astype(kernel.dtype), kernel, preferred_element_type=jnp.float32
    )


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Any]:
    return _product(x, kernel), (x.astype(kernel.dtype), kernel)


def _backward(saved: Any, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    cotangent = cotangent.astype(kernel.dtype)
    rows = x.reshape(-1, x.shape[-1]), cotangent.reshape(-1, cotangent.shape[-1])
    of_kernel = jnp.matmul(rows[0].T, rows[1])
    of_x = jnp.matmul(cotangent, kernel.T, preferred_element_type=jnp.float32)
    return of_x, of_kernel


_product.defvjp(_forward, _backward)
