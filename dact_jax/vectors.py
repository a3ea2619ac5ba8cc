"""Vectors, one a row, as users give them: converted, checked and rounded once."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors
from dact_jax.types import Array

MAX_SQUARED_NORM = 2.0**120  # of a row; float32 products of longer ones may overflow
_CHECKED_ROWS = 4096  # at once
_SAMPLE = 512  # rows, about
_KEPT = 2.0**-12  # share of the spread that rounding may take
_EXACT = 2.0**62  # differences of integers below this fit into int64


class Form(NamedTuple):
    """How numbers of some dtype are held for computing."""

    dtype: np.dtype[Any]
    # [F], subtracted first; None where the new dtype has as many digits as the old.
    origin: np.ndarray | None = None


FLOAT32, FLOAT64 = Form(np.dtype(np.float32)), Form(np.dtype(np.float64))


def as_array(values: Any, where: str) -> np.ndarray:
    """The values as a NumPy array, which shares their memory where it can.

    Args:
      values: an array, or what NumPy converts to one, such as lists and PyTorch's
        tensors.
      where: name of the values for messages.

    Raises:
      InputError: NumPy cannot convert them, or numbers of a masked array are masked.
    """
    if isinstance(values, np.ma.MaskedArray):
        count = int(np.ma.count_masked(values))
        if count:
            raise errors.InputError(
                f"{where} must hold every number, but {count} are masked: fill them or "
                "leave their rows out."
            )
        return np.asarray(values.data)
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise errors.InputError(
            f"{where} cannot be read as a NumPy array ({errors.clause(error)}); of a "
            "PyTorch tensor, give x.detach().float().cpu().numpy()."
        ) from None


def matrix(values: Any, where: str = "features") -> Array:
    """The values as an array [N, F] of real numbers.

    Args:
      values: a NumPy or jax array, or what NumPy converts to one.
      where: name of the values for messages.

    Raises:
      InputError: they are not [N, F] real numbers, or are empty.
    """
    if not isinstance(values, jax.Array):
        values = as_array(values, where)
    dtype = values.dtype
    real = np.issubdtype(dtype, np.integer) or jnp.issubdtype(dtype, np.floating)
    if values.ndim != 2 or 0 in values.shape or not real:
        raise errors.InputError(
            f"{where} must be [N, F] real numbers, one row per point, not "
            f"{dtype} of shape {tuple(values.shape)}."
        )
    return values


def precise_form(values: Array) -> Form:
    """The form that loses no digit which tells rows apart.

    float32 where it holds every value of the dtype; else float64; of what float64
    cannot hold (64-bit integers), differences from the middle row.

    Args:
      values: [N, F] real numbers.
    """
    size, is_integer = values.dtype.itemsize, np.issubdtype(values.dtype, np.integer)
    if size <= (2 if is_integer else 4):
        return FLOAT32
    if size <= (4 if is_integer else 8):
        return FLOAT64
    middle = np.asarray(values[len(values) // 2])
    return Form(FLOAT64.dtype, np.where(np.isfinite(middle), middle, 0))


def cast(values: np.ndarray, form: Form) -> np.ndarray:
    """[n, F], rows of numbers in a form; each is rounded once."""
    with np.errstate(over="ignore"):  # `valid` reports what float32 cannot hold
        if form.origin is None:
            return values.astype(form.dtype, copy=False)
        gap = values - form.origin
        if values.dtype.kind == "f":
            return gap.astype(form.dtype)
    # Exact where it fits, in spite of unsigned or wrapped subtraction.
    exact = gap.view(np.int64).astype(form.dtype)
    about = values.astype(form.dtype) - form.origin.astype(form.dtype)
    return np.where(np.abs(about) < _EXACT, exact, about)


def check_kept(values: Array, name: str) -> None:
    """Checks that float32 keeps the digits by which rows differ.

    Args:
      values: [N, F] real numbers, of which some rows are looked at.
      name: of the values, for messages.

    Raises:
      InputError: rounding moves a row by a share of the rows' spread that matters.
    """
    if precise_form(values) == FLOAT32:
        return
    rows = values[:: max(1, len(values) // _SAMPLE)]
    sample = np.asarray(rows).astype(np.float64)
    moved = np.abs(sample - sample.astype(np.float32)).max()
    if moved > _KEPT * np.abs(sample - np.median(sample, 0)).max():
        raise errors.InputError(
            f"{name}: float32, used here, keeps too few of the digits by which "
            "rows differ; subtract the mean of each column first."
        )


def check(values: Array, name: str) -> None:
    """Checks rows as k-center does, block by block; for all that rank rows by numbers.

    Args:
      values: [N, columns] real numbers.
      name: of the values, for messages.

    Raises:
      InputError: a row holds NaN or infinity, or is too long.
    """
    for start in range(0, len(values), _CHECKED_ROWS):
        block = np.asarray(values[start : start + _CHECKED_ROWS])
        check_valid(start + np.arange(len(block)), valid(block), name)


def check_valid(row: np.ndarray, is_valid: np.ndarray, name: str = "features") -> None:
    """Raises an InputError that names the lowest row that is not valid.

    Args:
      row: int[n].
      is_valid: bool[n], whether a row is finite and not too long.
      name: of what has these rows.
    """
    if not is_valid.all():
        raise errors.InputError(
            f"{name} must be finite, without NaN, and short enough for float32 to hold "
            f"the squared length of a row; row {row[~is_valid].min()} is not."
        )


def valid(values: np.ndarray) -> np.ndarray:
    """bool[n], whether rows of real numbers [n, F] are finite and not too long."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = values.astype(np.float32, copy=False)
        squared_norm = np.einsum("nf,nf->n", values, values)
        return squared_norm < MAX_SQUARED_NORM
