"""Vectors as users give them: what is refused, and how much of their digits is kept."""

import numpy as np
import pytest

from dact_jax import errors, vectors


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_differences_of_integers_are_exact_where_float64_holds_them(dtype):
    limits = np.iinfo(dtype)
    middle = int(limits.max) // 2
    values = [limits.min, middle - 1, middle, middle + 7, limits.max]
    rows = np.array(values, dtype)[:, None]
    form = vectors.precise_form(rows)
    assert form.origin is not None
    expected = [[float(int(value) - middle)] for value in values]
    np.testing.assert_array_equal(vectors.cast(rows, form), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint16, ">f4"])
def test_float32_holds_small_dtypes(dtype):
    assert vectors.precise_form(np.ones((2, 2), dtype)) == vectors.FLOAT32


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint32])
def test_float64_holds_the_others(dtype):
    assert vectors.precise_form(np.ones((2, 2), dtype)) == vectors.FLOAT64


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e19, 1e300])
def test_the_lowest_bad_row_is_named(bad):
    rows = np.ones((9000, 2))
    rows[[8000, 8500]] = bad
    with pytest.raises(errors.InputError, match=r"x\.npy .*NaN.* row 8000 "):
        vectors.check(rows, "x.npy")
