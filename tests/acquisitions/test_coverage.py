"""herding, u_herding and prob_cover beside greedy coverage in float64."""

import numpy as np
import pytest

from dact_jax import errors, plugins
from dact_jax.acquisitions import herding, prob_cover, u_herding
from dact_jax.geometry.coverage import purity
from tests.acquisitions import cases
from tests.geometry.coverage import oracle

ACQUISITIONS = {"herding": herding, "u_herding": u_herding, "prob_cover": prob_cover}


def picks(points, scale, budget, weight=None, kernel="gaussian"):
    weight = np.ones(len(points)) if weight is None else weight
    k = oracle.similarity(points, kernel, scale)
    return oracle.greedy(k, budget, weight, np.flatnonzero(cases.taken()))


def margin_weight(logits):
    p = np.exp(logits.astype(np.float64))
    first, second = np.sort(p / p.sum(1, keepdims=True))[:, [-1, -2]].T
    return 1 - (first - second)


def unit(points):
    return points / np.linalg.norm(points.astype(np.float64), axis=1, keepdims=True)


def other_input(pool):
    """The same evidence with another fixed representation."""
    stored = np.random.default_rng(5).normal(size=(60, 4)).astype(np.float32)
    return pool._replace(input=stored)


@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_herding_is_greedy_coverage(sigma, key):
    pool = cases.evidence()
    scale = sigma or oracle.median_distance(pool.embedding)
    rows, gains = picks(pool.embedding, scale, 12)
    picked = herding.make(sigma=sigma)(pool, cases.taken(), 12, key)
    assert picked.row.tolist() == rows
    np.testing.assert_allclose(picked.score, gains, rtol=1e-5)


def test_herding_of_the_fixed_representation_with_unit_length(key):
    pool = other_input(cases.evidence())
    points = unit(pool.input)
    rows, _ = picks(points, oracle.median_distance(points), 12)
    acquire = herding.make(features="input", normalize=True)
    assert acquire(pool, cases.taken(), 12, key).row.tolist() == rows
    assert plugins.reads("herding", {"features": "input"}) == ("input",)
    assert plugins.reads("herding") == ()
    with pytest.raises(errors.InputError, match="input"):
        acquire(pool._replace(input=None), cases.taken(), 3, key)


@pytest.mark.parametrize("weights", ["margin", "rank"])
@pytest.mark.parametrize("sigma", ["median", "labelled"])
def test_u_herding_weighs_by_uncertainty(weights, sigma, key):
    pool, taken = cases.evidence(3), cases.taken()
    weight = margin_weight(pool.outputs["classifier"])
    if weights == "rank":
        weight = np.array([(weight <= value).mean() for value in weight])
    scale = oracle.median_distance(pool.embedding)
    if sigma == "labelled":
        labelled = pool.embedding[taken].astype(np.float64)
        gap = np.linalg.norm(labelled[:, None] - labelled, axis=-1)
        scale = gap[gap > 0].min()
    rows, gains = picks(pool.embedding, scale, 20, weight)
    acquire = u_herding.make(weights=weights, sigma=sigma)
    picked = acquire(pool, taken, 20, key)
    assert picked.row.tolist() == rows
    np.testing.assert_allclose(picked.score, gains, rtol=1e-5, atol=1e-8)


def test_u_herding_before_two_rows_are_labelled_takes_the_median(key):
    pool, taken = cases.evidence(), np.arange(60) == 7
    labelled, median = (
        u_herding.make(sigma=sigma)(pool, taken, 9, key).row
        for sigma in ("labelled", "median")
    )
    np.testing.assert_array_equal(labelled, median)


def test_u_herding_prefers_the_unsure_and_needs_two_classes(key):
    sure, unsure = [9.0, 0.0], [0.1, 0.0]
    pool = cases.evidence()._replace(
        embedding=np.repeat([[0.0], [5.0]], 30, 0).astype(np.float32),
        outputs={"classifier": np.array([sure] * 30 + [unsure] * 30, np.float32)},
    )
    none = np.zeros(60, bool)
    assert u_herding.make()(pool, none, 1, key).row == 30
    one_class = pool._replace(outputs={"classifier": np.ones((60, 1), np.float32)})
    with pytest.raises(errors.InputError, match="2 classes"):
        u_herding.make()(one_class, none, 1, key)


@pytest.mark.parametrize("delta", [0.4, 0.9])
def test_prob_cover_counts_the_rows_in_balls(delta, key):
    pool = cases.evidence()
    points = unit(pool.embedding)
    rows, gains = picks(points, delta, 20, kernel="top_hat")
    picked = prob_cover.make(delta=delta)(pool, cases.taken(), 20, key)
    assert picked.row.tolist() == rows
    np.testing.assert_allclose(picked.score, gains)


def test_prob_cover_finds_the_radius_by_the_clusters_of_k_means(key):
    rng = np.random.default_rng(2)
    centers = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    which = np.arange(60) % 3
    points = (centers[which] + rng.normal(size=(60, 2))).astype(np.float32)
    pool = cases.evidence(classes=3)._replace(embedding=points)
    radius = purity.largest_radius(points, which)  # k-means finds these clusters
    assert 3 < radius < 10
    rows, _ = picks(points, radius, 5, kernel="top_hat")
    picked = prob_cover.make(normalize=False)(pool, cases.taken(), 5, key)
    assert picked.row.tolist() == rows
    given = prob_cover.make(normalize=False, clusters=3)
    no_logits = pool._replace(outputs={})
    assert given(no_logits, cases.taken(), 5, key).row.tolist() == rows


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_of_a_large_pool_rows_are_drawn(name, key):
    pool = cases.evidence()
    picked = ACQUISITIONS[name].make(max_rows=20)(pool, cases.taken(), 9, key)
    assert len(set(picked.row.tolist())) == 9
    assert not cases.taken()[picked.row].any()
