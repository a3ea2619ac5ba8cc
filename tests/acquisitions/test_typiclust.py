"""TypiClust as the paper's steps read; k-means itself is that of the package."""

import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import errors
from dact_jax.acquisitions import typiclust
from dact_jax.geometry import k_means
from dact_jax.types import Evidence
from tests.acquisitions import cases
from tests.geometry.neighbors import oracle


def steps(points, taken, budget, key, most=500, neighbors=20):
    """(rows, mean distances) by lists of Python, in float64."""
    num = min(taken.sum() + budget, most, len(points))
    weight = jnp.ones(len(points))
    centroid = k_means.k_means(points, weight, int(num), key=key).centroid
    squared = ((points[:, None].astype(np.float64) - np.asarray(centroid)) ** 2).sum(-1)
    label = squared.argmin(1)
    clusters = [np.flatnonzero(label == k) for k in set(label.tolist())]
    clusters.sort(key=lambda rows: (taken[rows].sum(), -len(rows), rows[0]))
    large = [rows for rows in clusters if len(rows) >= 6]
    small = [rows for rows in clusters if len(rows) < 6]
    picked = {}
    for tier in (large, small):
        gives = True
        while gives:
            gives = False
            for rows in tier:
                count = max(1, min(neighbors, len(rows) // 2))
                mean = np.zeros(1)
                if len(rows) > 1:
                    mean = oracle.neighbors(points[rows], count)[1].mean(1)
                free = [j for j, i in enumerate(rows) if not taken[i]]
                free = [j for j in free if rows[j] not in picked]
                if free and len(picked) < budget:
                    best = min(free, key=lambda j: (mean[j], rows[j]))
                    picked[rows[best]], gives = mean[best], True
    return list(picked), list(picked.values())


@pytest.mark.parametrize("budget", [1, 4, 20, 45])
@pytest.mark.parametrize("most", [3, 500])
def test_equals_the_steps_in_float64(budget, most, key):
    given, taken = cases.evidence(1), cases.taken()
    acquire = typiclust.make(normalize=False, most=most, neighbors=4)
    picked = acquire(given, taken, budget, key)
    row, score = steps(given.input, taken, budget, key, most, 4)
    assert picked.row.tolist() == row
    np.testing.assert_allclose(picked.score, score, rtol=1e-6)


def blobs(sizes, spread=0.1):
    """Far clusters of these sizes, in order."""
    rng = np.random.default_rng(0)
    where = np.repeat(10 * np.eye(len(sizes)), sizes, axis=0)
    points = (where + spread * rng.normal(size=where.shape)).astype(np.float32)
    return Evidence(np.zeros((len(points), 1), np.float32), {}, None, input=points)


def test_uncovered_then_large_clusters_come_first(key):
    given = blobs([9, 20, 12, 7])
    taken = np.zeros(48, bool)
    taken[[0, 10]] = True  # in the first and the second
    picked = typiclust.make(most=4)(given, taken, 6, key)
    owner = np.repeat([0, 1, 2, 3], [9, 20, 12, 7])[picked.row]
    assert owner.tolist() == [2, 3, 1, 0, 2, 3]


def test_small_clusters_come_last_but_they_come(key):
    given = blobs([5, 8, 5])
    picked = typiclust.make(most=3)(given, np.zeros(18, bool), 18, key)
    owner = np.repeat([0, 1, 2], [5, 8, 5])[picked.row]
    assert owner[:8].tolist() == [1] * 8
    assert sorted(owner[8:]) == [0] * 5 + [2] * 5
    only_small = blobs([3, 4])
    picked = typiclust.make(most=2)(only_small, np.zeros(7, bool), 2, key)
    assert sorted(picked.row // 3) in ([0, 1], [0, 2])


def test_the_middle_of_a_cluster_is_typical(key):
    points = np.array([[0.0], [4], [5], [5.5], [6], [7], [12]], np.float32)
    given = Evidence(np.zeros((7, 1)), {}, None, input=points)
    acquire = typiclust.make(normalize=False, neighbors=2)
    assert acquire(given, np.zeros(7, bool), 1, key).row.tolist() == [3]


def test_what_the_points_are(key):
    given, taken = cases.evidence(2), cases.taken()
    swapped = given._replace(embedding=given.input * 3, input=given.embedding + 9)
    first = typiclust.make()(given, taken, 5, key)
    second = typiclust.make(features="embedding")(swapped, taken, 5, key)
    np.testing.assert_array_equal(first.row, second.row)
    with pytest.raises(errors.InputError, match="'input'"):
        typiclust.make()(given._replace(input=None), taken, 5, key)
