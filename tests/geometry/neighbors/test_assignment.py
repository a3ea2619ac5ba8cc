"""Every row gets its nearest center, the lowest of those that tie."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.geometry.neighbors import assignment
from tests.geometry import reference


def test_equals_differences_in_float64(monkeypatch):
    monkeypatch.setattr(assignment, "_ROWS", 7)
    rng = np.random.default_rng(0)
    for offset, spread in [(0, 1), (100, 1), (100, 1e-3), (100, 3e-6)]:
        points = offset + spread * rng.normal(size=(90, 5)).astype(np.float32)
        centers = (offset + spread * rng.normal(size=(11, 5))).astype(np.float32)
        squared = reference.squared_distances(points, centers.astype(np.float64))
        found = assignment.nearest_center(points, centers)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, squared.argmin(1))


def test_ties_go_to_the_lowest_center():
    centers = np.array([[2.0, 0], [0, 0], [0, 0], [-2, 0]])
    points = np.array([[1.0, 5], [0, 0], [-1, 3]], np.float16)
    assert assignment.nearest_center(points, centers).tolist() == [0, 1, 1]


def test_points_that_are_not_finite_are_refused():
    with pytest.raises(errors.InputError, match="row 1 is not"):
        assignment.nearest_center(np.array([[0.0], [np.inf]]), np.zeros((1, 1)))
