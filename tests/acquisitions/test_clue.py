"""CLUE against the reference code; k-means itself is in tests/geometry."""

import jax
import numpy as np
import pytest

from dact_jax import errors, plugins
from dact_jax.acquisitions import clue
from dact_jax.geometry import k_means
from dact_jax.types import Evidence
from tests import toy

GOLDEN = toy.golden("clue")


def golden(case):
    """The reference's arrays of a case, its free rows and its evidence."""
    fields = {
        name.removeprefix(f"{case}_"): GOLDEN[name]
        for name in GOLDEN
        if name.startswith(f"{case}_")
    }
    evidence = Evidence(fields["emb"], {"classifier": fields["logits"]}, None)
    return fields, fields["unlabeled_idx"], evidence


def points_of(seed, num):
    return np.random.default_rng(seed).normal(size=(num, 5)).astype(np.float32)


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_weights_are_the_reference_s(case):
    fields, free, _ = golden(case)
    weight = clue.uncertainty(fields["logits"][free], float(fields["softmax_T"]))
    np.testing.assert_allclose(weight, fields["sample_weights"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_selection_given_the_reference_s_centroids(case):
    fields, free, _ = golden(case)
    row, distance = clue.nearest(fields["emb"][free], fields["centroids"])
    np.testing.assert_array_equal(np.sort(free[row]), fields["selected_sorted"])
    gap = fields["emb"][free][row][:, None] - fields["centroids"]
    least = np.linalg.norm(gap, axis=-1).min(-1)
    assert (distance >= least - 1e-5).all()


def test_well_separated_clusters_give_the_reference_s_picks(key):
    fields, _, evidence = golden("c0")
    acquire = clue.make(temperature=float(fields["softmax_T"]))
    for number in range(3):
        picked = acquire(
            evidence,
            fields["labeled_mask"].astype(bool),
            int(fields["n_select"]),
            jax.random.fold_in(key, number),
        )
        np.testing.assert_array_equal(np.sort(picked.row), fields["selected_sorted"])


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_inertia_is_as_low_as_the_reference_s(case, key):
    """On the whole pool, as CLUE calls it: taken rows have weight 0."""
    fields, free, _ = golden(case)
    weight = np.zeros(len(fields["emb"]), np.float32)
    weight[free] = fields["sample_weights"]
    clusters = k_means.k_means(fields["emb"], weight, int(fields["n_select"]), key=key)
    assert clusters.inertia <= 1.05 * fields["inertia"]


def test_taken_rows_have_no_influence(key):
    points = points_of(0, 30)
    logits = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    taken = np.arange(30) % 3 == 0
    moved = np.where(taken[:, None], 50.0, points).astype(np.float32)
    picks = [
        clue.make()(Evidence(x, {"classifier": logits}, None), taken, 6, key).row
        for x in (points, moved)
    ]
    np.testing.assert_array_equal(*picks)
    assert not taken[picks[0]].any()


def test_collisions_are_filled_by_the_first_centroids():
    points = np.array([[0.0], [1.0], [3.0], [10.0], [12.0]], np.float32)
    centroid = np.array([[10.1], [0.1], [0.2], [10.2]])
    row, distance = clue.nearest(points, centroid)
    # Row 3, row 0, then two are missing: centroids 0 and 1 take their second nearest.
    assert row.tolist() == [3, 0, 4, 1]
    np.testing.assert_allclose(distance, [0.1, 0.1, 1.9, 0.9], rtol=1e-5)


def test_filling_goes_on_until_there_are_enough():
    points = np.zeros((6, 2), np.float32)
    row, distance = clue.nearest(points, np.zeros((6, 2)))
    assert row.tolist() == [0, 1, 2, 3, 4, 5]
    assert distance.tolist() == [0] * 6


def test_nearest_in_blocks_equals_at_once(monkeypatch):
    points = points_of(1, 90)
    centroid = points[:40] + 0.01  # many collisions
    once = clue.nearest(points, centroid)
    monkeypatch.setattr(clue, "_BLOCK", 7)
    monkeypatch.setattr(clue, "_MAX_PAIRS", 300)
    blocked = clue.nearest(points, centroid)
    np.testing.assert_array_equal(once[0], blocked[0])
    np.testing.assert_array_equal(once[1], blocked[1])


@pytest.mark.parametrize("num_classes", [1, 3])
def test_duplicates_and_certain_predictions(num_classes, key):
    points = np.repeat(points_of(2, 6), 5, axis=0)  # 6 places, 5 times each
    logits = np.zeros((30, num_classes), np.float32)
    logits[:, 0] = 200
    evidence = Evidence(points, {"classifier": logits}, None)
    picks = {
        budget: clue.make(restarts=2)(evidence, np.zeros(30, bool), budget, key).row
        for budget in (6, 13, 29, 30)
    }
    for budget, row in picks.items():
        assert len(set(row.tolist())) == budget
    assert {row // 5 for row in picks[6].tolist()} == set(range(6))


@pytest.mark.parametrize(
    ("options", "budget", "message"),
    [
        ({"temperature": 0.0}, 1, r"clue\.temperature=0.0"),
        ({"temperature": float("inf")}, 1, r"clue\.temperature=inf"),
        ({"restarts": 0}, 1, r"clue\.restarts=0"),
        ({}, 6, "budget=6.* 5 "),
        ({}, -1, "budget=-1"),
    ],
)
def test_bad_options_and_budgets_are_rejected(options, budget, message, key):
    evidence = Evidence(np.ones((5, 2)), {"classifier": np.ones((5, 2))}, None)
    with pytest.raises(errors.InputError, match=message):
        plugins.load("acquisitions", "clue", **options)(
            evidence, np.zeros(5, bool), budget, key
        )
