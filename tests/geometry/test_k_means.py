"""Weighted k-means and its seeds: storage, devices, and scikit-learn's inertia.

Small sets are tested in test_k_means_inertia.py.
"""

import jax
import numpy as np
import pytest
from sklearn import cluster

from dact_jax import errors
from dact_jax.geometry import k_means, k_means_seeds, points, weighted_points
from tests.geometry.reference import first_devices


def mixture(seed, num=1500, parts=25, width=12, spread=1.0):
    """Overlapping clusters of unequal size and width, and weights."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(parts, 0.5))
    part = rng.choice(parts, num, p=share)
    scale = spread * rng.uniform(0.3, 2, parts)[part]
    centers = 2 * rng.normal(size=(parts, width))
    x = centers[part] + scale[:, None] * rng.normal(size=(num, width))
    return x.astype(np.float32), rng.gamma(0.5, 1, num).astype(np.float32) + 0.01


def seeder(x, weight, mesh=None, resident=None, group=1024):
    """(number of seeds, key, options of greedy) -> their rows."""
    with jax.enable_x64(True):
        pool = points.make(x, mesh=mesh, resident=resident)
        view = weighted_points.make(pool, weight, group)

    def seeds(num, key, **options):
        with jax.enable_x64(True):
            return k_means_seeds.greedy(view, num, key, **options)

    return seeds


def potential(x, weight, row):
    """Weighted sum of squared distances to the nearest seed, in float64."""
    gap = x[:, None].astype(np.float64) - x[row]
    return float(((gap**2).sum(-1).min(-1) * weight).sum())


# --- storage and devices -------------------------------------------------------


def thirty_clusters(x, weight, **options):
    return k_means.k_means(x, weight, 30, restarts=2, key=jax.random.key(1), **options)


@pytest.fixture(scope="module")
def expected():
    return thirty_clusters(*mixture(0), mesh=first_devices(1))


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("max_pairs", [3000, 2**22])
def test_devices_and_blocks_do_not_matter(count, resident, max_pairs, expected):
    result = thirty_clusters(
        *mixture(0),
        max_pairs=max_pairs,
        mesh=first_devices(count),
        resident=resident,
    )
    np.testing.assert_allclose(result.inertia, expected.inertia, rtol=1e-5)
    np.testing.assert_allclose(result.centroid, expected.centroid, atol=1e-3)
    assert result.iterations == expected.iterations


def test_the_same_key_gives_the_same(expected):
    again = thirty_clusters(*mixture(0), mesh=first_devices(1))
    np.testing.assert_array_equal(again.centroid, expected.centroid)
    assert again.inertia == expected.inertia


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("group", [1024, 70])
def test_seeds_are_the_same_on_any_number_of_devices(group, resident, key):
    x, weight = mixture(1, num=1501)
    one = seeder(x, weight, first_devices(1), resident=False)(60, key)
    two = seeder(x, weight, first_devices(2), resident, group)(60, key)
    np.testing.assert_array_equal(two, one)
    assert len(set(one.tolist())) == 60


def test_a_memory_map_and_a_jax_array_give_the_same(tmp_path, expected):
    x, weight = mixture(0)
    path = tmp_path / "features.npy"
    np.save(path, x)
    mesh = first_devices(1)
    for features in (np.load(path, mmap_mode="r"), jax.numpy.asarray(x)):
        result = thirty_clusters(features, weight, mesh=mesh)
        np.testing.assert_allclose(result.inertia, expected.inertia, rtol=1e-5)


def test_a_pool_is_read_two_blocks_at_a_time(monkeypatch, key):
    """Neither Lloyd nor the seeding reads more rows than a block has."""
    x, weight = mixture(2, num=600)
    monkeypatch.setattr(weighted_points, "_BLOCK", 40 * x.shape[1])
    monkeypatch.setattr(weighted_points, "_SAMPLE", 20)
    num_rows = []
    hosted = points._hosted

    def watched(*args):
        pool = hosted(*args)

        def read_split(row):
            num_rows.append(len(row))
            return pool.read_split(row)

        return pool._replace(read_split=read_split)

    monkeypatch.setattr(points, "_hosted", watched)
    k_means.k_means(x, weight, 9, restarts=1, max_iterations=2, key=key)
    assert max(num_rows) <= 40 * jax.device_count()
    assert len(num_rows) >= 3 * len(x) / (40 * jax.device_count())


# --- against scikit-learn -------------------------------------------------------


@pytest.mark.parametrize("num", [25, 100])
@pytest.mark.parametrize("restarts", [1, 4])
def test_inertia_is_scikit_learn_s_at_equal_restarts(num, restarts, key):
    x, weight = mixture(4, num=2000)
    ours, theirs = [], []
    for number in range(8):
        result = k_means.k_means(
            x, weight, num, restarts=restarts, key=jax.random.fold_in(key, number)
        )
        ours.append(float(result.inertia))
        fit = cluster.KMeans(num, n_init=restarts, random_state=number)
        theirs.append(fit.fit(x, sample_weight=weight).inertia_)
    assert np.mean(ours) <= 1.005 * np.mean(theirs)


@pytest.mark.parametrize("max_candidates", [5, 256])
def test_seeds_leave_as_little_as_scikit_learn_s(max_candidates, key):
    """With as many candidates as trials none is rejected: plain greedy k-means++."""
    x, weight = mixture(5, num=600)
    assert 2 + int(np.log(40)) == 5  # trials
    seeds = seeder(x, weight)
    ours, theirs = [], []
    for number in range(40):
        row = seeds(40, jax.random.fold_in(key, number), max_candidates=max_candidates)
        ours.append(potential(x, weight, row))
        _, row = cluster.kmeans_plusplus(
            x, 40, sample_weight=weight, random_state=number
        )
        theirs.append(potential(x, weight, row))
    error = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(len(ours))
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error


def test_candidates_drawn_early_are_distributed_as_those_drawn_late(key):
    """The second of three seeds changes the odds of the third, in one batch."""
    x = np.array([[0.0], [1.0], [10.0], [12.0]], np.float32)
    weight = np.array([1, 3, 2, 1], np.float32)
    seeds = seeder(x, weight)
    shares = []
    for max_candidates in (3, 256):
        rows = [
            seeds(3, jax.random.fold_in(key, n), max_candidates=max_candidates)
            for n in range(400)
        ]
        left = [({0, 1, 2, 3} - set(row.tolist())).pop() for row in rows]
        shares.append(np.bincount(left, minlength=4) / len(left))
    np.testing.assert_allclose(shares[0], shares[1], atol=0.1)


def test_rows_without_weight_are_no_seeds(key):
    x, weight = mixture(6, num=300)
    weight[::2] = 0
    row = seeder(x, weight)(150, key)
    assert (row % 2 == 1).all()


def test_draws_from_a_million_rows_are_exact():
    odds = np.ones(10**6)
    odds[::2] = 0
    row = k_means_seeds.draw(odds, np.array([0, 0.5, 1 - 2.0**-53]))
    np.testing.assert_array_equal(row, [1, 500_001, 999_999])


# --- bad input ------------------------------------------------------------


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_row_that_is_not_finite_is_named(bad, resident, key):
    x, weight = mixture(7, num=200)
    x[[17, 40], 3] = bad
    with pytest.raises(errors.InputError, match=r"points .* row 17 "):
        k_means.k_means(x, weight, 5, resident=resident, key=key)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_an_invalid_weight_is_named(bad, key):
    x, weight = mixture(8, num=200)
    weight[17] = bad
    with pytest.raises(errors.InputError, match=f"weights .* row 17 is {bad}"):
        k_means.k_means(x, weight, 5, key=key)


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.float16])
def test_other_dtypes_are_read_as_float32(kind, key):
    x = (4 * mixture(9, num=300)[0]).astype(kind)
    weight = np.ones(300)
    other = k_means.k_means(x, weight, 6, restarts=1, key=key)
    single = k_means.k_means(x.astype(np.float32), weight, 6, restarts=1, key=key)
    np.testing.assert_array_equal(other.centroid, single.centroid)
