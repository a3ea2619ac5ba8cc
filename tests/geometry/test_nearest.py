"""The two nearest centers: bounds hold, and a span alone is compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax.geometry import distances, nearest
from dact_jax.geometry.nearest import Tiles
from tests.geometry import reference
from tests.geometry.reference import squared_distances


def task(mode, width):
    """192 points, of which the last 64 are centers, with room for 16 more."""
    points = 30 * np.random.default_rng(width).normal(size=(192, width))
    points = points.astype(np.float32)
    with jax.enable_x64(True):
        frame = distances.Frame(np.zeros(width, np.float32), np.float32(1))
        dtype = jnp.float32 if mode == "float32" else jnp.float64
        padding = jnp.full(80, jnp.inf, dtype)
        centers = distances.Centers(jnp.zeros((80, width), dtype), padding)
        order = np.arange(64, dtype=np.int32)
        centers = distances.append_centers(
            centers, points[128:], order, np.int32(0), np.int32(64), frame, mode=mode
        )
    mesh = reference.first_devices(1)
    return points, centers, frame, {"mesh": mesh, "mode": mode, "tiles": Tiles(64, 16)}


def with_point_term(result, squared_norm, width, mode):
    bound, center, second = jax.device_get(result)
    term = distances.point_term(squared_norm, width, mode)
    return nearest.TwoNearest(bound + term, center, second + term)


def compared(mode, width):
    """Points 0 .. 127 of 192 compared with the others as centers, in another order."""
    points, centers, frame, options = task(mode, width)
    with jax.enable_x64(True):
        mean = np.zeros((1, width), np.float32)
        survey = nearest.survey(points[:128], mean, centers, frame, **options)
        squared_norm = np.asarray(survey.squared_norm)
        order = np.random.default_rng(0).permutation(64).astype(np.int32)
        span = np.array([[0, 64]] * 2, np.int32)
        result = nearest.two_nearest(
            points[:128], span, order, centers, frame, **options
        )
    return points, with_point_term(result, squared_norm, width, mode), squared_norm


@pytest.mark.parametrize("mode", distances.MODES)
@pytest.mark.parametrize("width", [1, 4, 300])
def test_bounds_hold(mode, width):
    points, result, squared_norm = compared(mode, width)
    exact = squared_distances(points[:128], points[128:])
    ascending = np.sort(exact, 1)
    to_center = np.take_along_axis(exact, result.center[:, None], 1)[:, 0]
    error = distances.relative_error(width, mode)
    assert (result.bound >= to_center * (1 - 1e-12)).all()
    longest = (points**2).sum(1).max()
    assert (result.bound <= ascending[:, 0] + 8 * error * longest).all()
    scale = distances.error_scale(squared_norm, mode)
    low = distances.lower_bound(result.second, scale, error)
    assert (low <= ascending[:, 1] * (1 + 1e-12)).all()


@pytest.mark.parametrize("bits", [10, 7])  # of TF32 and of bfloat16
def test_bounds_do_not_hold_with_fewer_bits(bits, reduce_precision):
    reduce_precision(bits)
    points, result, _ = compared("float32", 4)
    exact = squared_distances(points[:128], points[128:])
    assert (result.bound < exact.min(1)).sum() > 20


@pytest.mark.parametrize("mode", distances.MODES)
def test_only_a_span_is_compared(mode):
    """And what fills its last tile; a survey compares the first centers only."""
    points, centers, frame, options = task(mode, 5)
    order = np.random.default_rng(0).permutation(64).astype(np.int32)
    order = np.append(order, np.arange(64, 80)).astype(np.int32)
    span = np.array([[3, 35], [60, 64]], np.int32)
    exact = squared_distances(points[:128], points[128:])
    with jax.enable_x64(True):
        pivots = points[[5, 9]]
        survey = nearest.survey(points[:128], pivots, centers, frame, **options)
        result = nearest.two_nearest(
            points[:128], span, order, centers, frame, **options
        )
    squared_norm = np.asarray(survey.squared_norm)
    np.testing.assert_allclose(squared_norm, (points[:128] ** 2).sum(-1), rtol=1e-5)
    to_pivots = np.linalg.norm(points[:128, None] - pivots, axis=-1)
    assert (np.asarray(survey.cell) == to_pivots.argmin(1)).all()
    result = with_point_term(result, squared_norm, 5, mode)
    for rows, numbers in ((slice(64), order[3:35]), (slice(64, 128), order[60:64])):
        least = numbers[exact[rows][:, numbers].argmin(1)]
        assert (result.center[rows] == least).all()
        two = np.sort(exact[rows][:, numbers], 1)[:, :2]
        np.testing.assert_allclose(result.bound[rows], two[:, 0], rtol=1e-3)
        np.testing.assert_allclose(result.second[rows], two[:, 1], rtol=1e-3)
    first = with_point_term(survey.nearest, squared_norm, 5, mode)
    assert (first.center == exact[:, :16].argmin(1)).all()
    two = np.sort(exact[:, :16], 1)[:, :2]
    np.testing.assert_allclose(first.bound, two[:, 0], rtol=1e-3)
    np.testing.assert_allclose(first.second, two[:, 1], rtol=1e-3)
