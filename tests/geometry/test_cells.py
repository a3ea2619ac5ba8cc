import numpy as np
import pytest

from dact_jax.geometry import cells, k_center
from tests.geometry.reference import BLOCKS, greedy


def test_picks_do_not_depend_on_cells(monkeypatch):
    """Pivots far from all points, or that split clusters: the same picks."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4500, 16)) + 4 * rng.integers(3, size=(4500, 1))
    points = points.astype(np.float32)
    tuning = BLOCKS._replace(cell_pairs=0)
    expected = greedy(points, [7], 150)
    for pivots in (rng.normal(size=(5, 16)), 100 + rng.normal(size=(16, 16))):
        pivots = pivots.astype(np.float32)
        monkeypatch.setattr(cells, "pivots", lambda *_, pivots=pivots: pivots)
        picked = k_center.select(points, 150, labelled=[7], tuning=tuning)
        assert picked.row.tolist() == expected


def test_cells_that_explain_nothing_are_one():
    rng = np.random.default_rng(0)
    noise = rng.uniform(size=(512, 512)).astype(np.float32)
    identical = cells.pivots(noise, 16, 0.1)
    assert identical.shape == (16, 512)
    assert (identical == identical[0]).all()
    centers = 10 * rng.normal(size=(4, 8))
    points = centers[rng.integers(4, size=512)] + rng.normal(size=(512, 8))
    points = points.astype(np.float32)
    pivots = cells.pivots(points, 16, 0.1)
    assert pivots.shape == (16, 8)
    distance = np.linalg.norm(points[:, None] - pivots, axis=-1)
    assert distance.min(1).max() < 6
    assert cells.pivots(points[:1], 1, 0.1).tolist() == points[:1].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_spans_hold_the_centers_that_a_point_was_not_compared_with(seed):
    rng = np.random.default_rng(seed)
    center_cell, room, group = rng.integers(5, size=23), 32, 4
    table = cells.table(center_cell, room)
    assert sorted(table.order) == list(range(room))
    cell, compared = rng.integers(5, size=40), rng.integers(24, size=40)
    order = np.lexsort([compared, cell])
    cell, compared = cell[order], compared[order]
    spans = cells.spans(table, cell, compared, group).repeat(group, 0)
    for (first, last), own_cell, count in zip(spans, cell, compared, strict=True):
        needed = [n for n in range(count, 23) if center_cell[n] == own_cell]
        span = table.order[first:last]
        assert set(needed) <= set(span)
        assert set(center_cell[span]) <= set(range(cell[-1] + 1))


@pytest.mark.parametrize("seed", range(5))
def test_groups_hold_the_centers_that_a_point_was_not_compared_with(seed):
    rng = np.random.default_rng(seed)
    center_cell, room, most = rng.integers(5, size=23), 32, 6
    table = cells.table(center_cell, room)
    cell, compared = rng.integers(5, size=40), rng.integers(24, size=40)
    order = np.lexsort([compared, cell])
    cell, compared = cell[order], compared[order]
    groups = cells.groups(table, cell, compared, most)
    assert [at for rows, _ in groups for at in range(40)[rows]] == list(range(40))
    for rows, span in groups:
        assert 1 <= rows.stop - rows.start <= most
        (own_cell,) = set(cell[rows])
        least = compared[rows].min()
        needed = [n for n in range(least, 23) if center_cell[n] == own_cell]
        assert table.order[span].tolist() == needed
