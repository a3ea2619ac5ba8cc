"""EADA's two steps, as the paper's formulas read."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.acquisitions import energy
from dact_jax.types import Evidence
from tests.acquisitions import cases


def two_steps(logits, free, budget, share):
    """Rows and margins, by lists of Python."""
    logits = logits.astype(np.float64)
    kept = max(int(np.ceil(share * len(free))), budget)
    high = sorted(free, key=lambda i: (np.log(np.exp(logits[i]).sum()), i))[:kept]
    margin = {i: np.subtract(*np.sort(logits[i])[[-1, -2]]) for i in high}
    picked = sorted(high, key=lambda i: (margin[i], i))[:budget]
    return picked, [margin[i] for i in picked]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("budget", [1, 8, 40])
def test_equals_the_formulas_in_float64(share, budget, key):
    given, taken = cases.evidence(1), cases.taken()
    picked = energy.make(share=share)(given, taken, budget, key)
    row, margin = two_steps(
        given.outputs["classifier"], np.flatnonzero(~taken), budget, share
    )
    assert picked.row.tolist() == row
    np.testing.assert_allclose(picked.score, margin, rtol=1e-6)


def test_free_energy_comes_before_the_margin(key):
    logits = np.array([[9, 9], [1, 0], [0.5, -2], [8, 8.5]], np.float32)
    given = Evidence(np.zeros((4, 1), np.float32), {"classifier": logits}, None)
    untouched = np.zeros(4, bool)
    assert energy.make()(given, untouched, 2, key).row.tolist() == [1, 2]
    assert energy.make(share=1.0)(given, untouched, 2, key).row.tolist() == [0, 3]


def test_large_logits(key):
    logits = np.array([[3e4, -3e4], [3e4, 2e4], [-3e4, -3e4]], np.float32)
    given = Evidence(np.zeros((3, 1), np.float32), {"classifier": logits}, None)
    picked = energy.make()(given, np.zeros(3, bool), 3, key)
    assert picked.row.tolist() == [2, 1, 0]
    assert picked.score.tolist() == [0, 1e4, 6e4]


def test_ties_go_to_the_lowest_row(key):
    given = cases.rows(cases.evidence(), np.zeros(10, int))
    taken = np.arange(10) < 2
    assert energy.make()(given, taken, 3, key).row.tolist() == [2, 3, 4]


def test_one_class_has_no_second_energy(key):
    given = cases.evidence(classes=1)
    with pytest.raises(errors.InputError, match="at least 2 classes"):
        energy.make()(given, cases.taken(), 1, key)
