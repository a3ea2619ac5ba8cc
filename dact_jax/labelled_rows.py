"""Rows of a pool that are labelled already: their numbers, or a mask, not mixed up."""

import operator
from typing import Any

import numpy as np

from dact_jax import errors, vectors


def mask(rows: Any, num: int, where: str) -> np.ndarray:
    """bool[num], the rows that are given.

    Args:
      rows: int[L], row numbers, or bool[num]; anything that NumPy reads as such.
      num: rows of the pool.
      where: name of the rows for messages.

    Raises:
      InputError: the rows are neither, a number is not a row of the pool, or they are
        a mask whose truth values are written as the numbers 0 and 1.
    """
    values = vectors.as_array(rows, where)
    if values.dtype == bool and values.shape == (num,):
        return values
    kinds = "iu" if values.size else "iuf"  # an empty list becomes float64
    if values.ndim != 1 or values.dtype.kind not in kinds:
        raise errors.InputError(
            f"{where} must be row numbers (integers) or a mask bool[{num}], not "
            f"{values.dtype}{list(values.shape)}."
        )
    check_numbers(values, num, where)
    chosen = np.zeros(num, bool)
    chosen[values.astype(np.int64)] = True
    return chosen


def check_numbers(values: np.ndarray, num: int, where: str) -> None:
    """Raises InputError if the numbers are not rows, or seem to be a mask.

    Args:
      values: int[L], or Python integers as object[L].
      num: rows of the pool.
      where: name of the rows for messages.
    """
    wrong = values[(values < 0) | (values >= num)]
    if len(wrong):
        raise errors.InputError(
            f"{where}: {wrong[0]} is not a row of the pool, whose rows are 0 .. "
            f"{num - 1}."
        )
    if len(values) == num > 2 and (values <= 1).all():
        raise errors.InputError(
            f"{where} has 0 or 1 for each of the {num} rows, as a mask has: give a "
            "mask as bool, or the numbers of the rows."
        )


def budget(value: Any, left: int) -> int:
    """The number of picks, which is at most the number of rows that are left.

    Raises:
      InputError: it is no integer, negative, or larger.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise errors.InputError(f"budget must be an integer, not {value!r}.") from None
    if not 0 <= number <= left:
        raise errors.InputError(
            f"budget={number} must be between 0 and the {left} points that are not "
            "chosen yet."
        )
    return number
