"""Bounds by NumPy are upper bounds, and as tight as rounding allows."""

import numpy as np
import pytest

from dact_jax.geometry import distances, points
from dact_jax.geometry.distances import Centers, Frame
from dact_jax.geometry.on_host import nearest, products
from tests.geometry import reference


def _case(mode, dtype=np.float32):
    """(points, centers on the host, frame, centers for products)."""
    rng = np.random.default_rng(0)
    pool = (30 + rng.normal(size=(700, 24))).astype(dtype)
    chosen = pool[rng.permutation(700)[:37]]
    frame = Frame(np.full(24, 30, dtype), np.float32(0.25))
    product_dtype = np.float32 if mode == "float32" else np.float64
    centers = Centers(
        np.zeros((40, 24), product_dtype), np.full(40, np.inf, product_dtype)
    )
    products.append_centers(centers, chosen[:10], 0, frame, mode=mode)
    products.append_centers(centers, chosen[10:], 10, frame, mode=mode)
    return pool, chosen, frame, centers


@pytest.mark.parametrize("mode", distances.MODES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_two_nearest_of_each_group(mode, dtype, monkeypatch):
    monkeypatch.setattr(nearest, "_PRODUCTS", 2048)  # several products for most spans
    pool, chosen, frame, centers = _case(mode, dtype)
    exact = reference.squared_distances(pool, chosen.astype(np.float64)) / 16
    rows = np.random.default_rng(1).permutation(700)[:600]
    order = np.append(np.random.default_rng(2).permutation(37), [37, 38, 39])
    groups = [
        (slice(0, 256), slice(0, 37)),
        (slice(256, 300), slice(5, 6)),
        (slice(300, 500), slice(20, 37)),
        (slice(500, 600), slice(37, 37)),  # with none
    ]
    found = {}
    for name, given in (("all", None), ("ordered", order.astype(np.int32))):
        found[name] = nearest.two_nearest(
            lambda r: pool[r], rows, groups, given, centers, frame, mode=mode
        )
    norm = (((pool[rows].astype(np.float64) - 30) / 4) ** 2).sum(1)
    term = distances.point_term(norm, 24, mode)
    slack = 4 * distances.relative_error(24, mode) * (norm.max() + exact.max())
    for part, span in groups:
        for name, numbers in (("all", np.arange(40)), ("ordered", order)):
            own = numbers[span]
            bound = found[name].bound[part] + term[part]
            if not len(own):
                assert (found[name].center[part] == -1).all()
                assert np.isinf(bound).all()
                continue
            least = np.sort(exact[rows[part]][:, own], 1)
            assert (bound >= least[:, 0]).all()
            assert (bound <= least[:, 0] + slack).all()
            to_center = exact[rows[part], found[name].center[part]]
            assert (abs(to_center - least[:, 0]) <= slack).all()
            second = found[name].second[part] + term[part]
            if len(own) == 1:
                assert np.isinf(second).all()
                continue
            assert (second >= least[:, 1]).all()
            if name == "all":
                assert (second <= least[:, 1] + slack).all()


@pytest.mark.parametrize("mode", distances.MODES)
def test_a_survey_measures_and_compares(mode):
    pool, chosen, frame, centers = _case(mode)
    pivots = np.stack([np.full(24, -0.1), np.full(24, 0.1)]).astype(np.float32)
    pool[3, 2] = np.nan
    pool[300, 2] = 1e20
    survey = nearest.survey(
        lambda rows: pool[rows], slice(0, 700), pivots, centers, 8, frame, mode=mode
    )
    assert np.flatnonzero(~survey.valid).tolist() == [3, 300]
    kept = survey.valid
    placed = (pool[kept].astype(np.float64) - 30) / 4
    norm = (placed**2).sum(1)
    np.testing.assert_allclose(survey.squared_norm[kept], norm, rtol=1e-5)
    to_pivots = reference.squared_distances(placed, pivots.astype(np.float64))
    gap = abs(np.diff(to_pivots, axis=1)[:, 0])
    same = survey.cell[kept] == to_pivots.argmin(1)
    assert same[gap > 1e-4].all()
    exact = reference.squared_distances(pool[kept], chosen[:8].astype(np.float64)) / 16
    bound = survey.nearest.bound[kept] + distances.point_term(norm, 24, mode)
    assert (bound >= exact.min(1)).all()
    np.testing.assert_allclose(bound, exact.min(1), rtol=1e-3, atol=1e-4)


def test_only_a_pool_on_the_host_of_one_cpu_is_compared_in_numpy():
    pool = np.ones((5, 2), np.float32)
    one, two = (reference.first_devices(num) for num in (1, 2))
    assert points.make(pool, mesh=one).read_on_host is not None
    assert points.make(pool, mesh=two).read_on_host is None
    assert points.make(pool, mesh=one, resident=True).read_on_host is None
