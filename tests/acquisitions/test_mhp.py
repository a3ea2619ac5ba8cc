"""MHPL's scores and its suppression, as the formulas read."""

import numpy as np
import pytest

from dact_jax.acquisitions import mhp
from dact_jax.types import Evidence
from tests.acquisitions import cases
from tests.geometry.neighbors import oracle


def greedy(given, taken, budget, count):
    """(rows, scores) by lists of Python, in float64."""
    near, distance = oracle.neighbors(given.embedding, count, "cosine")
    predicted = given.outputs["classifier"].argmax(1)
    score = []
    for rows, away in zip(near, distance, strict=True):
        shares = [np.mean(predicted[rows] == c) for c in set(predicted[rows])]
        entropy = -sum(s * np.log(s) for s in shares)
        score.append(entropy * np.mean([max(1 - d, 0) for d in away]))
    order = sorted(np.flatnonzero(~taken), key=lambda i: -score[i])
    passed = {j for i in np.flatnonzero(taken) for j in near[i]}
    picked = []
    for row in order:
        if row not in passed and len(picked) < budget:
            picked.append(row)
            passed.update(near[row])
    picked += [row for row in order if row not in picked][: budget - len(picked)]
    return picked, [score[i] for i in picked]


@pytest.mark.parametrize("count", [1, 4, 10])
@pytest.mark.parametrize("budget", [1, 6, 40])
def test_equals_the_formulas_in_float64(count, budget, key):
    given, taken = cases.evidence(1), np.arange(60) % 11 == 0
    picked = mhp.make(neighbors=count)(given, taken, budget, key)
    row, score = greedy(given, taken, budget, count)
    np.testing.assert_allclose(picked.score, score, rtol=1e-5, atol=1e-7)
    if count > 1:  # with one neighbor all scores are 0
        assert picked.row.tolist() == row


def test_blocks_change_nothing(monkeypatch, key):
    given, taken = cases.evidence(1), np.arange(60) % 11 == 0
    whole = mhp.make()(given, taken, 20, key)
    monkeypatch.setattr(mhp, "_ROWS", 7)
    blocks = mhp.make()(given, taken, 20, key)
    np.testing.assert_array_equal(blocks.row, whole.row)
    np.testing.assert_array_equal(blocks.score, whole.score)


def test_neighbors_of_picks_and_of_labels_are_passed_over(key):
    angle = np.deg2rad([0, 1, 2, 3, 60, 61, 62, 63, 120, 121, 122, 123])
    points = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    logits = np.eye(2, dtype=np.float32)[np.arange(12) % 2]
    given = Evidence(points, {"classifier": logits}, None)
    taken = np.arange(12) == 1
    picked = mhp.make(neighbors=3)(given, taken, 2, key)
    assert sorted(row // 4 for row in picked.row.tolist()) == [1, 2]
    later = mhp.make(neighbors=3)(given, taken, 3, key)
    assert later.row[:2].tolist() == picked.row.tolist()
