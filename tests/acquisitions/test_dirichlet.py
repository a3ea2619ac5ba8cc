"""DUC's uncertainties against SciPy and samples, and its two steps."""

import numpy as np
import pytest
from scipy.special import digamma

from dact_jax.acquisitions import dirichlet
from tests.acquisitions import cases


def uncertainties(logits):
    """(distributional, data), row by row, in float64."""
    found = []
    for z in logits.astype(np.float64):
        alpha = np.exp(np.clip(z, -20, 20))
        mean = alpha / alpha.sum()
        data = sum(mean * (digamma(alpha.sum() + 1) - digamma(alpha + 1)))
        found.append((-sum(mean * np.log(mean)) - data, data))
    return np.array(found).T


@pytest.mark.parametrize("scale", [0.1, 1, 5, 15])
def test_uncertainties_equal_the_closed_forms(scale):
    rng = np.random.default_rng(0)
    logits = (scale * rng.normal(size=(200, 7))).astype(np.float32)
    for found, expected in zip(
        dirichlet.uncertainties(logits), uncertainties(logits), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_closed_forms_are_means_over_the_distribution():
    logits = np.array([[0.5, -1.0, 1.5]], np.float32)
    rng = np.random.default_rng(0)
    drawn = rng.dirichlet(np.exp(logits[0].astype(np.float64)), 200_000)
    entropy = -np.sum(drawn * np.log(np.maximum(drawn, 1e-300)), 1).mean()
    mean = drawn.mean(0)
    distributional, data = dirichlet.uncertainties(logits)
    assert abs(data[0] - entropy) < 3e-3
    assert abs(distributional[0] + entropy + sum(mean * np.log(mean))) < 3e-3


def test_extreme_logits_have_finite_uncertainties():
    logits = np.array([[3e4, -3e4], [-3e4, -3e4], [3e4, 3e4]], np.float32)
    distributional, data = dirichlet.uncertainties(logits)
    np.testing.assert_allclose(distributional, [0, np.log(2), 0], atol=1e-6)
    np.testing.assert_allclose(data, [0, 0, np.log(2)], atol=1e-6)


@pytest.mark.parametrize("kappa", [1, 2.5, 10])
@pytest.mark.parametrize("budget", [1, 4, 45])
def test_two_steps(kappa, budget, key):
    given, taken = cases.evidence(3), cases.taken()
    distributional, data = uncertainties(given.outputs["classifier"])
    free = np.flatnonzero(~taken)
    kept = sorted(free, key=lambda i: -distributional[i])[: round(kappa * budget)]
    expected = sorted(kept, key=lambda i: -data[i])[:budget]
    picked = dirichlet.make(kappa=kappa)(given, taken, budget, key)
    assert picked.row.tolist() == expected
    np.testing.assert_allclose(picked.score, data[expected], rtol=1e-6)


def test_ties_go_to_the_lowest_row(key):
    given = cases.rows(cases.evidence(), np.zeros(40, int))
    picked = dirichlet.make(kappa=2)(given, np.arange(40) < 2, 3, key)
    assert picked.row.tolist() == [2, 3, 4]
