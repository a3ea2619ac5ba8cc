"""Weighted k-means and its seeds: where the points lie, and against scikit-learn.

What it finds on small sets is in test_clue.py.
"""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from sklearn import cluster

from dact_jax import errors
from dact_jax.geometry import k_means, k_means_seeds, points, weighted_points


def mixture(seed, num=1500, parts=25, width=12, spread=1.0):
    """Overlapping clusters of unequal size and width, and weights."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(parts, 0.5))
    part = rng.choice(parts, num, p=share)
    wide = spread * rng.uniform(0.3, 2, parts)[part]
    found = 2 * rng.normal(size=(parts, width))[part]
    found = found + wide[:, None] * rng.normal(size=(num, width))
    return found.astype(np.float32), rng.gamma(0.5, 1, num).astype(np.float32) + 0.01


def first_devices(count):
    return Mesh(np.array(jax.devices()[:count]), ("data",))


def seeds(x, weight, num, key, over=None, resident=None, group=1024):
    with jax.enable_x64(True):
        pool = points.make(x, over=over, resident=resident)
        return k_means_seeds.greedy(weighted_points.make(pool, weight, group), num, key)


def potential(x, weight, row):
    """What the seeds leave, in float64."""
    gap = x[:, None].astype(np.float64) - x[row]
    return float(((gap**2).sum(-1).min(-1) * weight).sum())


# --- where the points lie -------------------------------------------------------


@pytest.fixture(scope="module")
def expected():
    x, weight = mixture(0)
    over = first_devices(1)
    options = {"restarts": 2, "over": over, "key": jax.random.key(1)}
    return k_means.k_means(x, weight, 30, **options)


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("max_pairs", [3000, 2**22])
def test_devices_and_blocks_do_not_matter(count, resident, max_pairs, expected):
    x, weight = mixture(0)
    found = k_means.k_means(
        x,
        weight,
        30,
        restarts=2,
        max_pairs=max_pairs,
        over=first_devices(count),
        resident=resident,
        key=jax.random.key(1),
    )
    np.testing.assert_allclose(found.inertia, expected.inertia, rtol=1e-5)
    np.testing.assert_allclose(found.centroid, expected.centroid, atol=1e-3)
    assert found.iterations == expected.iterations


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("group", [1024, 70])
def test_seeds_are_the_same_on_any_number_of_devices(group, resident, key):
    x, weight = mixture(1, num=1501)
    alone = seeds(x, weight, 60, key, first_devices(1), resident=False)
    found = seeds(x, weight, 60, key, first_devices(2), resident, group)
    np.testing.assert_array_equal(found, alone)
    assert len(set(alone.tolist())) == 60


def test_a_memory_map_and_a_jax_array_give_the_same(tmp_path, expected):
    x, weight = mixture(0)
    path = tmp_path / "features.npy"
    np.save(path, x)
    for given in (np.load(path, mmap_mode="r"), jax.numpy.asarray(x)):
        found = k_means.k_means(given, weight, 30, restarts=2, key=jax.random.key(1))
        np.testing.assert_allclose(found.inertia, expected.inertia, rtol=1e-5)


def test_a_pool_is_read_two_blocks_at_a_time(monkeypatch, key):
    """Neither Lloyd nor the seeding asks for more rows than a block has."""
    x, weight = mixture(2)
    monkeypatch.setattr(weighted_points, "_BLOCK", 100 * x.shape[1])
    monkeypatch.setattr(weighted_points, "_SAMPLE", 50)
    asked = []
    hosted = points._hosted

    def watched(*given):
        pool = hosted(*given)

        def split(row):
            asked.append(len(row))
            return pool.split(row)

        return pool._replace(split=split)

    monkeypatch.setattr(points, "_hosted", watched)
    k_means.k_means(x, weight, 9, restarts=1, max_iterations=2, key=key)
    assert max(asked) <= 100 * jax.device_count()
    assert len(asked) >= 3 * len(x) / (100 * jax.device_count())


def test_the_same_key_gives_the_same(key):
    x, weight = mixture(3)
    one, two = (k_means.k_means(x, weight, 20, restarts=1, key=key) for _ in range(2))
    np.testing.assert_array_equal(one.centroid, two.centroid)


# --- against scikit-learn -------------------------------------------------------


@pytest.mark.parametrize("num", [25, 100])
@pytest.mark.parametrize("restarts", [1, 4])
def test_inertia_is_scikit_learn_s_at_equal_restarts(num, restarts, key):
    x, weight = mixture(4, num=2000)
    ours, theirs = [], []
    for number in range(8):
        one = jax.random.fold_in(key, number)
        found = k_means.k_means(x, weight, num, restarts=restarts, key=one)
        ours.append(float(found.inertia))
        fit = cluster.KMeans(num, n_init=restarts, random_state=number)
        theirs.append(fit.fit(x, sample_weight=weight).inertia_)
    assert np.mean(ours) <= 1.005 * np.mean(theirs)


@pytest.mark.parametrize("candidates", [1, 256])
def test_seeds_leave_as_little_as_scikit_learn_s(candidates, monkeypatch, key):
    """With one candidate for each trial nothing is rejected: plain greedy k-means++."""
    x, weight = mixture(5, num=600)
    trials = 2 + int(np.log(40))
    monkeypatch.setattr(k_means_seeds, "CANDIDATES", max(candidates, trials))
    ours, theirs = [], []
    for number in range(40):
        row = seeds(x, weight, 40, jax.random.fold_in(key, number))
        ours.append(potential(x, weight, row))
        _, row = cluster.kmeans_plusplus(
            x, 40, sample_weight=weight, random_state=number
        )
        theirs.append(potential(x, weight, row))
    error = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(len(ours))
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error


def test_candidates_drawn_early_are_draws_of_later(monkeypatch, key):
    """The second of three seeds changes the odds of the third, in one batch."""
    x = np.array([[0.0], [1.0], [10.0], [12.0]], np.float32)
    weight = np.array([1, 3, 2, 1], np.float32)
    counts = []
    for candidates in (3, 256):
        monkeypatch.setattr(k_means_seeds, "CANDIDATES", candidates)
        found = [seeds(x, weight, 3, jax.random.fold_in(key, n)) for n in range(400)]
        left = [({0, 1, 2, 3} - set(row.tolist())).pop() for row in found]
        counts.append(np.bincount(left, minlength=4) / len(left))
    np.testing.assert_allclose(counts[0], counts[1], atol=0.1)


def test_rows_without_weight_are_no_seeds(key):
    x, weight = mixture(6, num=300)
    weight[::2] = 0
    row = seeds(x, weight, 150, key)
    assert (row % 2 == 1).all()


def test_draw_of_a_million_masses_is_exact():
    mass = np.ones(10**6)
    mass[::2] = 0
    row = k_means_seeds.draw(mass, np.array([0, 0.5, 1 - 2.0**-53]))
    np.testing.assert_array_equal(row, [1, 500_001, 999_999])


# --- what is refused ------------------------------------------------------------


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_row_that_is_not_finite_is_named(bad, resident, key):
    x, weight = mixture(7, num=200)
    x[[17, 40], 3] = bad
    with pytest.raises(errors.InputError, match=r"points must be finite, .*; row 17"):
        k_means.k_means(x, weight, 5, resident=resident, key=key)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_weight_that_is_none_is_named(bad, key):
    x, weight = mixture(8, num=200)
    weight[17] = bad
    with pytest.raises(errors.InputError, match=f"that of row 17 is {bad}"):
        k_means.k_means(x, weight, 5, key=key)


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.float16])
def test_other_numbers_are_taken_as_float32(kind, key):
    x = (4 * mixture(9, num=300)[0]).astype(kind)
    weight = np.ones(300)
    found = k_means.k_means(x, weight, 6, restarts=1, key=key)
    same = k_means.k_means(x.astype(np.float32), weight, 6, restarts=1, key=key)
    np.testing.assert_array_equal(found.centroid, same.centroid)
