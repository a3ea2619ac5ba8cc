"""The temperature against a search on a grid, and its errors by hand."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.prediction import calibration, outcomes


def _drawn(temperature, *, count=400, seed=0):
    """Logits, and labels drawn from the softmax of logits / temperature."""
    random = np.random.default_rng(seed)
    logits = (3 * random.normal(size=(count, 5))).astype(np.float32)
    p = outcomes.softmax(logits, temperature)
    label = [random.choice(5, p=row) for row in p]
    return logits, np.array(label, np.int32)


@pytest.mark.parametrize("true", [0.5, 1.0, 4.0])
def test_no_temperature_of_a_grid_is_better(true):
    logits, label = _drawn(true)
    found = calibration.fit(logits, label)
    grid = np.geomspace(0.05, 50, 801)
    values = [calibration.nll(logits, label, t) for t in grid]
    assert found.nll_after <= min(values) + 1e-12
    best = grid[int(np.argmin(values))]
    assert found.temperature == pytest.approx(best, rel=0.01)
    assert found.temperature == pytest.approx(true, rel=0.25)
    assert found.nll_before == pytest.approx(calibration.nll(logits, label))
    assert found.nll_after <= found.nll_before
    assert found.labels == 400


def test_likelihood_and_calibration_error_by_hand():
    half, share = np.log(0.5), np.log([[0.8, 0.2], [0.5, 0.5], [0.6, 0.4]])
    label = np.array([0, 1, 1], np.int32)
    logits = share.astype(np.float32)
    expected = -(np.log(0.8) + half + np.log(0.4)) / 3
    assert calibration.nll(logits, label) == pytest.approx(expected, abs=1e-6)
    # Three bins: right at 0.8; wrong at 0.5 (of equals the first); wrong at 0.6.
    assert calibration.ece(logits, label) == pytest.approx((0.2 + 0.5 + 0.6) / 3)
    # In one bin, right and wrong at 0.9 cancel: |0.5 - 0.9|.
    two = np.log([[0.9, 0.1], [0.9, 0.1]]).astype(np.float32)
    assert calibration.ece(two, np.array([0, 1])) == pytest.approx(0.4)


def test_huge_logits_are_no_overflow():
    logits = np.array([[3e4, 0], [0, 3e4], [3e4, 0], [3e4, 0]], np.float32)
    label = np.array([0, 1, 1, 0], np.int32)
    found = calibration.fit(logits, label)
    assert np.isfinite(found[:]).all()
    # Right in three of four: a confidence of 3/4 is best.
    assert found.temperature == pytest.approx(3e4 / np.log(3), rel=1e-6)
    assert calibration.fit(logits / 3e7, label).ece_after == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("label", "part"),
    [([0, 1, 2], "all 3 validation images are classified r"), ([1, 2, 0], "no better")],
)
def test_labels_without_a_best_temperature(label, part):
    logits = 2 * np.eye(3, dtype=np.float32)
    with pytest.raises(errors.InputError, match=part):
        calibration.fit(logits, np.array(label, np.int32))


def test_it_says_what_it_is():
    text = str(calibration.fit(*_drawn(2.0)))
    assert "fitted on 400 validation labels; on the same labels, NLL" in text
