"""The plain scan picks as the definition says, whichever distances decide."""

import numpy as np
import pytest

from dact_jax.geometry import plain_scan
from tests.geometry import reference


def _offset(rng):
    return 1e9 + 0.05 * rng.normal(size=(300, 7))


def _clusters(rng):
    """Products of float64 cannot tell the rows of a cluster apart."""
    return 1e8 * rng.normal(size=(4, 7))[rng.integers(4, size=300)] + rng.normal(
        size=(300, 7)
    )


POOLS = {
    "normal": lambda rng: rng.normal(size=(300, 7)),
    "ties": lambda rng: np.round(2 * rng.normal(size=(300, 3))),
    "grid": lambda rng: np.stack(np.meshgrid(*[np.arange(6.0)] * 3), -1).reshape(-1, 3),
    "equal": lambda rng: np.ones((60, 2)),
    "offset": _offset,
    "clusters": _clusters,
    "outlier": lambda rng: np.append(rng.normal(size=(60, 2)), [[1e12, 0]], 0),
    "tiny": lambda rng: 1e-150 * rng.normal(size=(60, 3)),
}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("num_centers", [1, 40])
def test_a_scan_equals_the_definition(pool, num_centers):
    rng = np.random.default_rng(num_centers)
    points = POOLS[pool](rng)
    centers = rng.permutation(len(points))[:num_centers]
    budget = min(100, len(points) - num_centers)
    row, squared = plain_scan.scan(points, centers, budget)
    assert row.tolist() == reference.greedy(points, centers, budget)
    distances = reference.squared_distances(points, points)
    for number in range(budget):
        chosen = [*centers, *row[:number].tolist()]
        expected = distances[row[number], chosen].min()
        assert squared[number] == pytest.approx(expected, rel=1e-13)


def test_arrays_beside_the_pool_stay_small(monkeypatch):
    points = np.random.default_rng(0).normal(size=(500, 4))
    expected = plain_scan.scan(points, np.arange(100), 60)
    monkeypatch.setattr(plain_scan, "_AT_ONCE", 1000)
    for found, right in zip(
        plain_scan.scan(points, np.arange(100), 60), expected, strict=True
    ):
        np.testing.assert_array_equal(found, right)
