"""Rows that are labelled already: numbers or a mask, never one for the other."""

import numpy as np
import pytest

from dact_jax import errors, labelled_rows


@pytest.mark.parametrize(
    "rows", [[3, 1, 3], np.array([1, 3], np.uint8), np.arange(5) % 2 == 1]
)
def test_numbers_and_masks(rows):
    found = labelled_rows.mask(rows, 5, "labelled")
    assert np.flatnonzero(found).tolist() == [1, 3]
    assert not labelled_rows.mask([], 5, "labelled").any()


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        (np.arange(5) % 2, "0 or 1 .* 5 rows"),
        (np.ones(5, np.uint8), "0 or 1 .* 5 rows"),
        ([5], "5 .* 0 .. 4"),
        ([-1], "-1 .* 0 .. 4"),
        ([1.0], "float64"),
        ([True, False], "bool"),
        ([[1]], "int64"),
        (["1"], "<U1"),
    ],
)
def test_anything_else_is_rejected(rows, part):
    with pytest.raises(errors.InputError, match=f"labelled.* {part}"):
        labelled_rows.mask(rows, 5, "labelled")


def test_two_rows_may_both_be_labelled():
    assert labelled_rows.mask([0, 1], 2, "labelled").all()
