"""CLUE and the weighted k-means below it, against the reference and scikit-learn."""

import jax
import numpy as np
import pytest
from sklearn import cluster

from dact_jax import errors
from dact_jax.acquisitions import clue
from dact_jax.geometry import k_means, k_means_seeds
from dact_jax.types import Evidence
from tests import toy

GOLDEN = toy.golden("clue")


def golden(case):
    fields = {
        name.removeprefix(f"{case}_"): GOLDEN[name]
        for name in GOLDEN
        if name.startswith(f"{case}_")
    }
    free = fields["unlabeled_idx"]
    found = Evidence(fields["emb"], {"classifier": fields["logits"]}, None)
    return fields, free, found


def mixture(seed, num=400, parts=8, width=5, spread=0.3):
    """Points around `parts` centres, and weights."""
    rng = np.random.default_rng(seed)
    centers = 3 * rng.normal(size=(parts, width))
    points = centers[rng.integers(parts, size=num)]
    points = points + spread * rng.normal(size=points.shape)
    return points.astype(np.float32), rng.uniform(0.01, 2, num).astype(np.float32)


def reference(points, weight, num_clusters, restarts=10):
    fitted = cluster.KMeans(num_clusters, n_init=restarts, random_state=0)
    return fitted.fit(points, sample_weight=weight).inertia_


def inertia(points, weight, centroid):
    """By definition, in float64."""
    gap = points[:, None].astype(np.float64) - np.asarray(centroid, np.float64)
    return float(((gap**2).sum(-1).min(-1) * weight).sum())


# --- CLUE -----------------------------------------------------------------------


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
    fields, _, found = golden("c0")
    acquire = clue.make(temperature=float(fields["softmax_T"]))
    for number in range(3):
        picked = acquire(
            found,
            fields["labeled_mask"].astype(bool),
            int(fields["n_select"]),
            jax.random.fold_in(key, number),
        )
        np.testing.assert_array_equal(np.sort(picked.row), fields["selected_sorted"])


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_inertia_is_as_low_as_the_reference_s(case, key):
    fields, free, _ = golden(case)
    points, weight = fields["emb"][free], fields["sample_weights"]
    found = k_means.k_means(points, weight, int(fields["n_select"]), key=key)
    assert found.inertia <= 1.05 * fields["inertia"]


def test_taken_rows_have_no_influence(key):
    points, _ = mixture(0, 60)
    logits = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    taken = np.arange(60) % 3 == 0
    other = np.where(taken[:, None], 50.0, points).astype(np.float32)
    picks = [
        clue.make()(Evidence(x, {"classifier": logits}, None), taken, 7, key).row
        for x in (points, other)
    ]
    np.testing.assert_array_equal(*picks)


def test_collisions_are_filled_by_the_first_centroids():
    points = np.array([[0.0], [1.0], [3.0], [10.0], [12.0]], np.float32)
    centroid = np.array([[10.1], [0.1], [0.2], [10.2]])
    row, distance = clue.nearest(points, centroid)
    # Row 3, row 0, then two lack: centroids 0 and 1 take their second nearest.
    assert row.tolist() == [3, 0, 4, 1]
    np.testing.assert_allclose(distance, [0.1, 0.1, 1.9, 0.9], rtol=1e-5)


def test_filling_goes_on_until_there_are_enough():
    points = np.zeros((6, 2), np.float32)
    row, distance = clue.nearest(points, np.zeros((6, 2)))
    assert row.tolist() == [0, 1, 2, 3, 4, 5]
    assert distance.tolist() == [0] * 6


def test_nearest_in_blocks_equals_at_once(monkeypatch):
    points, _ = mixture(1, 90)
    centroid = points[:40] + 0.01  # many collisions
    once = clue.nearest(points, centroid)
    monkeypatch.setattr(clue, "_BLOCK", 7)
    monkeypatch.setattr(clue, "_MAX_PAIRS", 300)
    blocked = clue.nearest(points, centroid)
    np.testing.assert_array_equal(once[0], blocked[0])
    np.testing.assert_array_equal(once[1], blocked[1])


@pytest.mark.parametrize("num_classes", [1, 3])
def test_duplicates_and_sure_predictions(num_classes, key):
    points = np.repeat(mixture(2, 6)[0], 5, axis=0)  # 6 places, 5 times each
    sure = np.zeros((30, num_classes), np.float32)
    sure[:, 0] = 200
    found = Evidence(points, {"classifier": sure}, None)
    for budget in (6, 13, 29, 30):
        picked = clue.make(restarts=2)(found, np.zeros(30, bool), budget, key)
        assert len(set(picked.row.tolist())) == budget
    six = clue.make(restarts=2)(found, np.zeros(30, bool), 6, key)
    assert {row // 5 for row in six.row.tolist()} == set(range(6))


@pytest.mark.parametrize(
    ("options", "budget", "message"),
    [
        ({"temperature": 0.0}, 1, "temperature=0.0"),
        ({"temperature": float("inf")}, 1, "temperature=inf"),
        ({"restarts": 0}, 1, "restarts=0"),
        ({}, 6, "budget=6 is more than the 5 rows left"),
        ({}, -1, "negative"),
    ],
)
def test_bad_input_is_refused(options, budget, message, key):
    found = Evidence(np.ones((5, 2)), {"classifier": np.ones((5, 2))}, None)
    with pytest.raises(errors.InputError, match=message):
        clue.make(**options)(found, np.zeros(5, bool), budget, key)


# --- k-means --------------------------------------------------------------------


@pytest.mark.parametrize("num_clusters", [1, 3, 8])
def test_separated_mixtures_give_scikit_learn_s_inertia(num_clusters, key):
    points, weight = mixture(3)
    found = k_means.k_means(points, weight, num_clusters, key=key)
    expected = reference(points, weight, num_clusters)
    np.testing.assert_allclose(found.inertia, expected, rtol=1e-3)
    np.testing.assert_allclose(
        found.inertia, inertia(points, weight, found.centroid), rtol=1e-5
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_overlapping_mixtures_are_as_good_as_scikit_learn_s(seed, spread, key):
    points, weight = mixture(seed, spread=spread)
    found = k_means.k_means(points, weight, 20, key=key)
    assert found.inertia <= 1.03 * reference(points, weight, 20)


def test_one_run_is_on_average_as_good_as_scikit_learn_s(key):
    points, weight = mixture(4, spread=1.5)
    ours, theirs = [], []
    for seed in range(30):
        one = jax.random.fold_in(key, seed)
        ours.append(k_means.k_means(points, weight, 20, restarts=1, key=one).inertia)
        fitted = cluster.KMeans(20, n_init=1, random_state=seed)
        theirs.append(fitted.fit(points, sample_weight=weight).inertia_)
    assert np.mean(ours) <= 1.02 * np.mean(theirs)


def test_more_restarts_never_cost(key):
    points, weight = mixture(5, spread=3.0)
    costs = [
        float(k_means.k_means(points, weight, 15, restarts=n, key=key).inertia)
        for n in (1, 3, 10)
    ]
    assert costs == sorted(costs, reverse=True)


def test_an_integer_weight_equals_so_many_copies(key):
    points, _ = mixture(6, 100)
    copies = np.random.default_rng(6).integers(1, 5, 100)
    weighted = k_means.k_means(points, copies, 8, key=key)
    repeated = np.repeat(points, copies, axis=0)
    plain = k_means.k_means(repeated, np.ones(len(repeated)), 8, key=key)
    np.testing.assert_allclose(weighted.inertia, plain.inertia, rtol=1e-4)


def test_every_point_its_own_cluster(key):
    points, weight = mixture(7, 40)
    found = k_means.k_means(points, weight, 40, restarts=3, key=key)
    assert found.inertia < 1e-6 * inertia(points, weight, points.mean(0)[None])


def test_fewer_places_than_clusters(key):
    points = np.repeat(mixture(8, 5)[0], 6, axis=0)
    found = k_means.k_means(points, np.ones(30), 12, key=key)
    assert found.inertia < 1e-8
    assert np.isfinite(found.centroid).all()
    assert found.iterations < 10  # spare centroids rest


@pytest.mark.parametrize("max_pairs", [1, 60, 999, 4000])
def test_blocked_equals_unblocked(max_pairs, key):
    points, weight = mixture(9, 203)
    once = k_means.k_means(points, weight, 6, restarts=2, key=key)
    blocked = k_means.k_means(
        points, weight, 6, restarts=2, max_pairs=max_pairs, key=key
    )
    np.testing.assert_allclose(once.centroid, blocked.centroid, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(once.inertia, blocked.inertia, rtol=1e-5)


def test_an_empty_cluster_goes_to_the_dearest_point(monkeypatch, key):
    """Three seeds in one place; the two far points are found all the same."""
    points = np.array([[0.0], [0.1], [0.2], [5.0], [9.0]], np.float32)
    monkeypatch.setattr(k_means_seeds, "greedy", lambda *_: np.array([0, 0, 0]))
    weight = np.array([1, 1, 1, 4, 1], np.float32)
    found = k_means.k_means(points, weight, 3, restarts=1, key=key)
    np.testing.assert_allclose(
        np.sort(found.centroid[:, 0]), [0.1, 5.0, 9.0], rtol=1e-5
    )
    np.testing.assert_allclose(found.inertia, 0.02, rtol=1e-4)


def test_far_from_the_origin_clusters_are_found(key):
    points, weight = mixture(10, spread=0.01)
    near = k_means.k_means(points, weight, 8, key=key)
    far = k_means.k_means(points + np.float32(1000), weight, 8, key=key)
    np.testing.assert_allclose(far.centroid, near.centroid + 1000, rtol=1e-6)


@pytest.mark.parametrize(
    ("points", "weight", "options", "message"),
    [
        (np.ones(3), np.ones(3), {}, "shape"),
        (np.full((3, 2), np.nan), np.ones(3), {}, "row 0"),
        (np.ones((3, 2)), np.ones(2), {}, "weights .* 3 .* shape"),
        (np.ones((3, 2)), np.array([1, 1, -1]), {}, "none negative"),
        (np.ones((3, 2)), np.array([1, 1, np.inf]), {}, "weights .* row 2 "),
        (np.ones((3, 2)), np.array([1, 0, 0]), {}, "1 and the 1 points"),
        (np.ones((3, 2)), np.ones(3), {"restarts": 0}, "restarts=0"),
        (np.ones((3, 2)), np.ones(3), {"max_pairs": 0}, "max_pairs=0"),
    ],
)
def test_bad_points_and_weights_are_refused(points, weight, options, message, key):
    with pytest.raises(errors.InputError, match=message):
        k_means.k_means(points, weight, 2, **options, key=key)
