"""How many pairs of points and centers are compared, and in which portions."""

import numpy as np
import pytest

from dact_jax.geometry import k_center, nearest
from tests.geometry.reference import BLOCKS


@pytest.mark.parametrize("kind", ["clusters", "spectrum"])
def test_few_pairs_are_compared(kind, monkeypatch):
    """Far fewer than in a pass for each pick, and never more than a block at once."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20000, 64))
    if kind == "clusters":
        points += 2 * rng.normal(size=(16, 64))[rng.integers(16, size=20000)]
    else:
        points /= np.arange(1, 65)
    points = points.astype(np.float32)
    most, pairs = compared_pairs(points, BLOCKS, monkeypatch)
    assert most <= 4096
    assert pairs < 0.3 * 20000 * 500
    one_cell = BLOCKS._replace(max_cells=1)
    assert pairs < 0.6 * compared_pairs(points, one_cell, monkeypatch)[1]


def compared_pairs(points, tuning, monkeypatch):
    """(Most points at once, pairs in all) of a selection of 500."""
    rows, pairs = [], []
    survey, two_nearest = nearest.survey, nearest.two_nearest

    def count(first, last, points, tiles):
        tiled = np.ceil(np.maximum(last - first, 0) / tiles.centers) * tiles.centers
        rows.append(len(points))
        pairs.append(tiles.points * tiled.sum())

    def counted_survey(points, pivots, *args, tiles, **options):
        last = np.full(len(points) // tiles.points, tiles.centers)
        count(0, last, points, tiles)
        pairs.append(len(points) * len(pivots))
        return survey(points, pivots, *args, tiles=tiles, **options)

    def counted_two_nearest(points, span, *args, tiles, **options):
        count(*np.asarray(span).T, points, tiles)
        return two_nearest(points, span, *args, tiles=tiles, **options)

    with monkeypatch.context() as patched:
        patched.setattr(nearest, "survey", counted_survey)
        patched.setattr(nearest, "two_nearest", counted_two_nearest)
        k_center.select(points, 500, tuning=tuning)
    return max(rows), sum(pairs)


def test_blocks_of_large_pools_are_larger(monkeypatch):
    points = np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)
    sizes = []
    two_nearest = nearest.two_nearest

    def record_size(points, *args, **options):
        sizes.append(len(points))
        return two_nearest(points, *args, **options)

    monkeypatch.setattr(nearest, "two_nearest", record_size)
    expected = k_center.select(points, 200, tuning=BLOCKS).row.tolist()
    assert max(sizes) == 4096
    sizes.clear()
    large = BLOCKS._replace(block=1024, large_pool=8000)
    assert k_center.select(points, 200, tuning=large).row.tolist() == expected
    assert max(sizes) == 4 * 1024
