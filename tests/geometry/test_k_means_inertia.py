"""Weighted k-means on small sets: its inertia against scikit-learn, and edge cases.

Most tests share the shapes 400 x 5 with 3, 8 or 20 clusters, and so compiled programs.
"""

import jax
import numpy as np
import pytest
from sklearn import cluster

from dact_jax import errors
from dact_jax.geometry import k_means, k_means_seeds


def mixture(seed, num=400, parts=8, width=5, spread=0.3):
    """Points around `parts` centers, and weights."""
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
        root = jax.random.fold_in(key, seed)
        ours.append(k_means.k_means(points, weight, 20, restarts=1, key=root).inertia)
        fitted = cluster.KMeans(20, n_init=1, random_state=seed)
        theirs.append(fitted.fit(points, sample_weight=weight).inertia_)
    assert np.mean(ours) <= 1.02 * np.mean(theirs)


def test_more_restarts_never_cost(key):
    points, weight = mixture(5, spread=3.0)
    costs = [
        float(k_means.k_means(points, weight, 20, restarts=n, key=key).inertia)
        for n in (1, 3, 10)
    ]
    assert costs == sorted(costs, reverse=True)


def test_an_integer_weight_equals_so_many_copies(key):
    """And weight 0 none: rows of weight 0 fill both sets up to the same shape."""
    points, _ = mixture(6, 100)
    copies = np.random.default_rng(6).integers(1, 5, 100)

    def cost(x, weight):
        fill = 400 - len(x)
        x = np.concatenate([x, np.full((fill, 5), 90, np.float32)])
        weight = np.concatenate([weight, np.zeros(fill)])
        return k_means.k_means(x, weight, 8, key=key).inertia

    repeated = np.repeat(points, copies, axis=0)
    plain = cost(repeated, np.ones(len(repeated)))
    np.testing.assert_allclose(cost(points, copies), plain, rtol=1e-4)


def test_every_point_its_own_cluster(key):
    points, weight = mixture(7, 30)
    found = k_means.k_means(points, weight, 30, restarts=3, key=key)
    assert found.inertia < 1e-6 * inertia(points, weight, points.mean(0)[None])


def test_fewer_places_than_clusters(key):
    points = np.repeat(mixture(8, 5)[0], 6, axis=0)
    found = k_means.k_means(points, np.ones(30), 13, key=key)
    assert found.inertia < 1e-8
    assert np.isfinite(found.centroid).all()
    assert found.iterations < 10  # spare centroids stay where they are


@pytest.fixture(scope="module")
def unblocked():
    points, weight = mixture(9, 203)
    return k_means.k_means(points, weight, 6, restarts=2, key=jax.random.key(0))


@pytest.mark.parametrize("max_pairs", [1, 60, 999, 4000])
def test_blocked_equals_unblocked(max_pairs, unblocked):
    points, weight = mixture(9, 203)
    options = {"restarts": 2, "max_pairs": max_pairs, "key": jax.random.key(0)}
    blocked = k_means.k_means(points, weight, 6, **options)
    np.testing.assert_allclose(
        unblocked.centroid, blocked.centroid, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(unblocked.inertia, blocked.inertia, rtol=1e-5)


def test_an_empty_cluster_goes_to_the_most_costly_point(monkeypatch, key):
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
        (np.ones((3, 2)), np.ones(2), {}, r"3 .*\(2,\)"),
        (np.ones((3, 2)), np.array([1, 1, -1]), {}, "row 2 is -1"),
        (np.ones((3, 2)), np.array([1, 1, np.inf]), {}, "row 2 is inf"),
        (np.ones((3, 2)), np.array([1, 0, 0]), {}, "num_clusters=2 .*1 "),
        (np.ones((3, 2)), np.ones(3), {"restarts": 0}, "restarts=0"),
        (np.ones((3, 2)), np.ones(3), {"max_pairs": 0}, "max_pairs=0"),
    ],
)
def test_bad_points_and_weights_are_rejected(points, weight, options, message, key):
    with pytest.raises(errors.InputError, match=message):
        k_means.k_means(points, weight, 2, **options, key=key)
