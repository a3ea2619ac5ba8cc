"""Bandwidths and radii that follow from the points."""

import numpy as np

from dact_jax.geometry.coverage import bandwidth, purity


def test_median_distance_of_pairs():
    points = np.array([[0.0], [1.0], [3.0]])  # distances 1, 2, 3
    assert bandwidth.median_distance(points) == 2
    mostly_equal = np.array([[0.0]] * 9 + [[4.0]])
    assert bandwidth.median_distance(mostly_equal) == 4  # of the pairs that differ
    assert bandwidth.median_distance(np.ones((3, 2))) == 1
    assert bandwidth.median_distance(np.ones((1, 2))) == 1


def test_least_distance_of_points_that_differ():
    points = np.array([[0.0, 0], [3, 4], [3, 4], [3, 6]])
    assert bandwidth.least_distance(points) == 2
    assert bandwidth.least_distance(points[1:3]) is None
    assert bandwidth.least_distance(points[:0]) is None


def test_distances_whose_squares_vanish_are_no_scales():
    points = np.array([[0.0], [1e-170], [3.0]])
    assert bandwidth.median_distance(points) == 3
    assert bandwidth.median_distance(points[:2]) == 1
    assert bandwidth.least_distance(points[:2]) is None


def test_the_radius_keeps_balls_pure():
    """40 balls, of which 2 may be impure."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 3))
    label = (points[:, 0] > 0).astype(int)
    radius = purity.largest_radius(points, label)
    gap = np.sqrt(((points[:, None] - points) ** 2).sum(-1))

    def pure(size):
        inside = gap <= size
        return np.mean((~inside | (label[:, None] == label)).all(1))

    assert pure(radius) >= 0.95
    assert pure(radius * (1 + 2e-6)) < 0.95


def test_the_radius_of_one_cluster_is_the_median_distance():
    points = np.array([[0.0], [1.0], [3.0]])
    assert purity.largest_radius(points, np.zeros(3, int)) == 2
