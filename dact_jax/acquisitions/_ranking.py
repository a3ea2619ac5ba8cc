"""What the acquisitions share: free rows, top rows, checked evidence, entropy."""

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors, ops, vectors
from dact_jax.types import Array, Evidence


def free_rows(taken: np.ndarray, budget: int) -> np.ndarray:
    """int32[free], the rows that may be picked, ascending.

    Args:
      taken: bool[N], rows that must not be picked.
      budget: number of picks that are about to be made.

    Raises:
      InputError: `budget` is negative or larger than the number of free rows.
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
    """int32[budget], the free rows with the highest values; ties go to the lowest row.

    Args:
      value: float32[N].
      taken: bool[N], rows that must not be picked.

    Raises:
      InputError: `budget` is negative or larger than the number of free rows.
    """
    free = free_rows(taken, budget)
    order = np.argsort(-np.asarray(value)[free], kind="stable")
    return free[order[:budget]]


def finite_matrix(values: Array | None, name: str, num_rows: int) -> jax.Array:
    """float32[num_rows, columns], the values after checks of their shape and rows.

    Args:
      values: float[num_rows, columns], one row for each image of the pool.
      name: of the values, for error messages.

    Raises:
      InputError: `values` is None or has another shape, or `vectors.check`
        rejects a row.
    """
    if values is None:
        raise errors.InputError(f"the evidence has no {name!r}.")
    shape = np.shape(values)
    if len(shape) != 2 or shape[0] != num_rows or shape[1] == 0:
        raise errors.InputError(
            f"{name!r} must be float[{num_rows}, columns], one row for each image of "
            f"the pool; its shape is {shape}."
        )
    vectors.check(values, repr(name))
    return jnp.asarray(values, jnp.float32)


def class_logits(evidence: Evidence, num_rows: int) -> jax.Array:
    """float32[num_rows, K], the classifier's logits.

    Raises:
      InputError: they are missing, have another shape, or are not all finite.
    """
    return finite_matrix(evidence.outputs.get("classifier"), "classifier", num_rows)


def fixed_input(
    evidence: Evidence, num_rows: int, *, normalize: bool = False
) -> jax.Array:
    """float32[num_rows, D], the representation that training does not change.

    Args:
      normalize: whether each row is divided by its length; rows of zeros stay.

    Raises:
      InputError: it is missing, has another shape, or is not all finite.
    """
    values = finite_matrix(evidence.input, "input", num_rows)
    return ops.normalize(values) if normalize else values


def points(
    evidence: Evidence, num_rows: int, *, features: str, normalize: bool
) -> Array:
    """float[num_rows, F], the points whose distances count.

    Args:
      features: "embedding", or "input" for the representation that training does not
        change.
      normalize: whether each row is divided by its length; rows of zeros stay.

    Raises:
      InputError: `features` is "input", and the evidence has none that is right.
    """
    if features == "input":
        return fixed_input(evidence, num_rows, normalize=normalize)
    values = evidence.embedding
    return ops.normalize(jnp.asarray(values, jnp.float32)) if normalize else values


def bought_labels(evidence: Evidence, num_rows: int) -> np.ndarray:
    """int32[num_rows], the target's bought labels, UNLABELED elsewhere.

    Raises:
      InputError: the evidence has none, or of another number of rows.
    """
    if evidence.bought is None:
        raise errors.InputError("the evidence has no bought labels ('bought').")
    bought = np.asarray(evidence.bought)
    if bought.shape != (num_rows,):
        raise errors.InputError(
            f"'bought' must be int[{num_rows}], one label for each image of the pool; "
            f"its shape is {bought.shape}."
        )
    return bought.astype(np.int32)


@jax.jit
def entropy(logits: jax.Array) -> jax.Array:
    """float32[N], -sum_k p_k log p_k of each row in nats, without an epsilon.

    Args:
      logits: float32[N, K].
    """
    log_p = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
