import numpy as np
import pytest

from dact_jax.geometry import candidates, distances
from tests.geometry.reference import greedy, squared_distances


@pytest.fixture(params=["products", "differences"])
def table_error(request, monkeypatch):
    """Error allowed for the table of products; here they err by as much as that."""
    if request.param == "differences":
        return 0.0
    relative_error, table = distances.relative_error, candidates._table
    rng = np.random.default_rng(0)

    def large_error(width, mode):
        return relative_error(width, mode) * (1e11 if mode == "float64" else 1)

    def noisy_table(placed, squared_norm):
        error = 2 * large_error(placed.shape[1], "float64") * squared_norm.max()
        noise = rng.uniform(-error, error, (len(placed), len(placed)))
        noise = np.triu(noise) + np.triu(noise, 1).T
        return np.maximum(table(placed, squared_norm) + noise, 0)

    monkeypatch.setattr(distances, "relative_error", large_error)
    monkeypatch.setattr(candidates, "_table", noisy_table)
    return 0.02


def test_picks_and_bounds_of_candidates(table_error):
    """Picks are a greedy's while no point outside is farther, and bounds hold."""
    modes, stopped = set(), 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        centers = rng.normal(size=(rng.integers(2, 30), 6)).astype(np.float32)
        points = rng.normal(size=(rng.integers(1, 60), 6)).astype(np.float32)
        if seed % 3 == 0:
            points = np.round(points)  # ties and duplicates
        exact = squared_distances(points, centers)
        nearest, two = exact.argmin(1).astype(np.int32), np.sort(exact, 1)
        before = candidates.NearestCenter(two[:, 0] * 1.01, nearest, two[:, 1] * 0.999)
        wrong = rng.random(len(points)) < 0.2  # of these another center is the nearest
        before.center[wrong] = rng.integers(len(centers), size=wrong.sum())
        before.others[wrong] = 0
        limit = float(rng.choice([-1, np.median(two[:, 0])]))
        frame = distances.Frame(np.zeros(6, np.float32), np.float32(1))
        outside = candidates.Outside(np.float64(limit), np.int32(0))
        rows, budget = np.arange(1, len(points) + 1), int(rng.integers(1, 61))
        picks = candidates.pick(
            rows,
            points,
            before,
            centers,
            frame,
            outside,
            budget,
            table_error=table_error,
        )
        modes.add(bool(picks.error))

        picked = picks.order[picks.order >= 0]
        all_points, num = np.concatenate([centers, points]), len(centers)
        expected = greedy(all_points, np.arange(num), len(picked))
        assert (num + picked).tolist() == expected
        all_centers = np.concatenate([centers, points[picked]])
        left = np.setdiff1d(np.arange(len(points)), picked)
        exact, after = squared_distances(points[left], all_centers), picks.nearest
        if len(left) and len(picked) < budget:
            stopped += 1
            assert exact.min(1).max() <= limit * (1 + 1e-9)
        assert (after.bound[picked] == -1).all()
        assert (after.bound[left] >= exact.min(1) * (1 - 1e-12)).all()
        to_center = exact[np.arange(len(left)), after.center[left]]
        assert (abs(to_center - after.bound[left]) <= 1e-12 + 2 * picks.error).all()
        is_other = np.arange(len(all_centers)) != after.center[left][:, None]
        others = np.min(exact, 1, initial=np.inf, where=is_other)
        assert (after.others[left] <= others * (1 + 1e-12)).all()
    assert modes == {table_error > 0, False}
    assert stopped > 50


@pytest.mark.parametrize("case", ["normal", "offset", "subnormal", "overflow"])
def test_the_nearest_center_is_never_excluded(case):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 300))
    points[100:] = points[:100] * (1 + 1e-2 * rng.normal(size=(100, 300)))
    if case == "offset":
        points = 100 + 1e-3 * points
    elif case == "subnormal":  # their squares, in float32
        points *= 3e-22
    elif case == "overflow":
        points[::2] *= 1e20
    points = points.astype(np.float32)
    for point in points[:40]:
        point = point * np.float32(1.01)
        exact = ((points.astype(np.float64) - point) ** 2).sum(-1)
        numbers = candidates._possibly_nearest(
            point.astype(np.float64), points, points[0]
        )
        assert exact.argmin() in numbers
        assert case != "normal" or len(numbers) < 5
