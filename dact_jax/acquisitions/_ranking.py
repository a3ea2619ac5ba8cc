"""What the acquisitions share: the rows left in a pool, and how sure it is of them."""

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors
from dact_jax.types import Array


def free_rows(taken: np.ndarray, budget: int) -> np.ndarray:
    """int32[free], the rows that may be picked, ascending.

    Args:
      taken: bool[N], rows not to be picked.
      budget: how many are about to be picked.

    Raises:
      InputError: `budget` is negative or more than the rows left.
    """
    free = np.flatnonzero(~taken).astype(np.int32)
    if budget < 0:
        raise errors.InputError(f"budget={budget} must not be negative.")
    if budget > free.size:
        raise errors.InputError(
            f"budget={budget} is more than the {free.size} rows left."
        )
    return free


def highest(value: Array, taken: np.ndarray, budget: int) -> np.ndarray:
    """int32[budget], the free rows of highest value; the lowest row wins ties.

    Args:
      value: float32[N].
      taken: bool[N], rows not to be picked.
      budget: how many to pick.

    Raises:
      InputError: `budget` is negative or more than the rows left.
    """
    free = free_rows(taken, budget)
    order = np.argsort(-np.asarray(value)[free], kind="stable")
    return free[order[:budget]]


def matrix(values: Array | None, name: str, num_rows: int) -> jax.Array:
    """The values as float32[num_rows, columns], if that is what they are.

    Args:
      values: float[num_rows, columns], one row for each of the pool.
      name: what the user calls them.
      num_rows: size of the pool.

    Raises:
      InputError: they are missing, have another shape, or are not all finite.
    """
    if values is None:
        raise errors.InputError(f"the evidence has no {name!r}.")
    shape = np.shape(values)
    if len(shape) != 2 or shape[0] != num_rows or shape[1] == 0:
        raise errors.InputError(
            f"{name!r} must be float[{num_rows}, columns], a row for each of the pool; "
            f"its shape is {shape}."
        )
    array = jnp.asarray(values, jnp.float32)
    if not bool(jnp.isfinite(array).all()):
        raise errors.InputError(f"{name!r} holds NaN or infinity.")
    return array


@jax.jit
def entropy(logits: jax.Array) -> jax.Array:
    """float32[N], -sum_k p_k log p_k of each row in nats, without an epsilon.

    Args:
      logits: float32[N, K].
    """
    log_p = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
