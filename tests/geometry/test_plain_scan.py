import jax
import numpy as np
import pytest

from dact_jax.geometry import plain_scan
from tests.geometry import reference


@pytest.mark.parametrize("num_centers", [1, 4])
@pytest.mark.parametrize("num_devices", [1, 2])
def test_a_scan_equals_the_definition(num_centers, num_devices):
    rng = np.random.default_rng(num_centers)
    points = np.round(2 * rng.normal(size=(60, 3))).astype(np.float32)  # many ties
    centers = rng.permutation(60)[:num_centers]
    budget = 60 - num_centers
    with jax.enable_x64(True):
        row, squared = plain_scan.scan(
            points,
            np.resize(centers, 60).astype(np.int32),
            np.int32(num_centers),
            np.int32(budget),
            mesh=reference.first_devices(num_devices),
        )
    row, squared = np.asarray(row), np.asarray(squared)
    assert row[:budget].tolist() == reference.greedy(points, centers, budget)
    distances = reference.squared_distances(points, points)
    for number in range(budget):
        chosen = [*centers, *row[:number].tolist()]
        assert squared[number] == distances[row[number], chosen].min()
