"""LADA's scores as the formulas read; k-means itself is that of the package."""

import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax.acquisitions import clue, las
from dact_jax.geometry import k_means
from dact_jax.geometry.neighbors import graph
from dact_jax.types import Evidence
from tests.acquisitions import cases
from tests.geometry.neighbors import oracle


def scores(embedding, logits, count):
    """float64[N], Q', row by row."""
    near, distance = oracle.neighbors(embedding, count, "cosine")
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    weight = [np.maximum(1 - away, 0) for away in distance]
    weight = [w / w.sum() if w.sum() else np.ones(len(w)) / len(w) for w in weight]
    q = np.array(
        [
            -sum(w * (p[row] @ p[i]) for w, i in zip(weight[row], rows, strict=True))
            for row, rows in enumerate(near)
        ]
    )
    return np.array([(q[i] + weight[i] @ q[near[i]]) / 2 for i in range(len(q))])


@pytest.mark.parametrize("count", [1, 3, 10, 99])
def test_scores_equal_the_formulas_in_float64(count):
    given = cases.evidence(1)
    near = graph.nearest(given.embedding, count, metric="cosine")
    logits = given.outputs["classifier"]
    np.testing.assert_allclose(
        las.inconsistency(near, logits.astype(np.float64)),
        scores(given.embedding, logits, count),
        rtol=1e-5,
    )


@pytest.mark.parametrize(("budget", "more"), [(3, 10.0), (3, 2.5), (5, 0.0)])
def test_picks_are_the_nearest_to_clusters_of_the_best(budget, more, key):
    given, taken = cases.evidence(2), cases.taken()
    free = np.flatnonzero(~taken)
    score = scores(given.embedding[free], given.outputs["classifier"][free], 10)
    kept = min(int(np.ceil((1 + more) * budget)), len(free))
    best = sorted(sorted(range(len(free)), key=lambda i: -score[i])[:kept])
    picked = las.make(more=more)(given, taken, budget, key)
    if more:
        points = oracle.unit(given.embedding[free][best]).astype(np.float32)
        clusters = k_means.k_means(points, jnp.ones(kept), budget, key=key)
        place, _ = clue.nearest(points, clusters.centroid)
        best = np.array(best)[place]
    assert picked.row.tolist() == free[best].tolist()
    np.testing.assert_allclose(picked.score, score[best], rtol=1e-5)


def test_mixed_neighborhoods_are_picked_before_pure_ones(key):
    rng = np.random.default_rng(0)
    far = np.repeat(np.eye(4), 12, 0) + 0.05 * rng.normal(size=(48, 4))
    logits = np.zeros((48, 2), np.float32)
    logits[:, 0] = 9
    logits[12:24:2] = [0, 9]  # predictions of the second cluster are mixed
    given = Evidence(far.astype(np.float32), {"classifier": logits}, None)
    picked = las.make(more=2.0)(given, np.zeros(48, bool), 4, key)
    assert set(picked.row // 12) == {1}


def test_taken_rows_have_no_influence(key):
    given, taken = cases.evidence(3), cases.taken()
    moved = np.where(taken[:, None], 50, given.embedding).astype(np.float32)
    first = las.make()(given, taken, 5, key)
    second = las.make()(given._replace(embedding=moved), taken, 5, key)
    np.testing.assert_array_equal(first.row, second.row)
