"""Labels, confidences and margins by hand."""

import jax
import numpy as np

from dact_jax.prediction import outcomes

SHARES = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.05, 0.9, 0.05]], np.float32)


def test_by_hand():
    found = outcomes.of_logits(np.log(SHARES), abstain=0.5)
    assert found.label.tolist() == [0, -1, 1]
    assert found.guess.tolist() == [0, 2, 1]
    np.testing.assert_allclose(found.confidence, [0.7, 0.4, 0.9], rtol=1e-6)
    np.testing.assert_allclose(found.margin, [0.5, 0.1, 0.85], rtol=1e-5)
    np.testing.assert_allclose(found.probabilities, SHARES, rtol=1e-6)
    kinds = [(array.dtype.name, array.shape) for array in found]
    assert kinds == [("int32", (3,))] * 2 + [("float32", (3,))] * 2 + [
        ("float32", (3, 3))
    ]


def test_a_temperature_changes_confidences_and_no_guess():
    logits = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    cold, hot = (outcomes.of_logits(logits, temperature=t) for t in (0.1, 10))
    np.testing.assert_array_equal(cold.guess, hot.guess)
    assert (cold.confidence > hot.confidence).all()
    expected = jax.nn.softmax(logits / 10)
    np.testing.assert_allclose(hot.probabilities, expected, rtol=1e-5)


def test_no_image_at_all():
    found = outcomes.of_logits(np.zeros((0, 3), np.float32))
    assert [array.shape for array in found] == [(0,)] * 4 + [(0, 3)]
