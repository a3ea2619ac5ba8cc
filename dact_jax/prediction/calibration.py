"""The temperature with which confidences fit labels (Guo et al., ICML 2017)."""

from typing import NamedTuple

import numpy as np

from dact_jax import errors
from dact_jax.prediction import outcomes

BINS = 15  # of confidence, for the calibration error
_WIDTH = 15.0  # log T is so far at most from that of the largest difference of logits
_HALVINGS = 60  # of the interval of log T


class Calibration(NamedTuple):
    """A temperature, and how well confidences fit before and after it."""

    temperature: float
    labels: int  # it was fitted on so many, and the errors are measured on them
    nll_before: float  # mean negative log-likelihood of the labels
    nll_after: float
    ece_before: float  # expected calibration error, in [0, 1]
    ece_after: float

    def __str__(self) -> str:
        return (
            f"Calibrated: temperature {self.temperature:.3g}, fitted on {self.labels} "
            f"validation labels; on the same labels, NLL {self.nll_before:.3f} -> "
            f"{self.nll_after:.3f}, ECE {100 * self.ece_before:.1f} -> "
            f"{100 * self.ece_after:.1f} %."
        )


def fit(logits: np.ndarray, label: np.ndarray) -> Calibration:
    """The temperature that minimizes the negative log-likelihood of labels.

    It is convex in 1 / T, so halving an interval finds its minimum by the sign of the
    slope.

    Args:
      logits: float32[N, K].
      label: int32[N], every one known.

    Raises:
      InputError: the labels allow no best temperature.
    """
    count, z = len(label), logits.astype(np.float64)
    true = z[np.arange(count), label]
    if (true == z.max(-1)).all():  # the slope never becomes positive
        raise errors.InputError(
            f"--calibrate finds no temperature: all {count} validation images are "
            "classified right, so the likelihood grows without end; give the run more "
            "validation labels (data.val_per_class), or leave --calibrate out."
        )
    if np.mean(z.mean(-1) - true) >= 0:  # nor negative
        raise errors.InputError(
            f"--calibrate finds no temperature: on the {count} validation images the "
            "network is no better than guessing; leave --calibrate out."
        )
    low, high = np.log(np.ptp(z, -1).max()) + np.array([-_WIDTH, _WIDTH])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # Towards colder ones the likelihood still grows, or does not any more.
        if _slope(logits, label, np.exp(middle)) > 0:
            low = middle
        else:
            high = middle
    temperature = float(np.exp((low + high) / 2))
    return Calibration(
        temperature,
        count,
        nll(logits, label),
        nll(logits, label, temperature),
        ece(logits, label),
        ece(logits, label, temperature),
    )


def nll(logits: np.ndarray, label: np.ndarray, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of labels, by natural logarithms."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(-1, keepdims=True)
    log_sum = np.log(np.exp(scaled).sum(-1))
    return float(np.mean(log_sum - scaled[np.arange(len(label)), label]))


def ece(logits: np.ndarray, label: np.ndarray, temperature: float = 1.0) -> float:
    """Expected calibration error in 15 bins of equal width (Guo et al., eq. 3)."""
    probabilities = outcomes.softmax(logits, temperature)
    confidence = probabilities.max(-1)
    right = logits.argmax(-1) == label
    # Bin m holds confidences in ((m - 1) / M, m / M].
    bin = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bin, right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(label))


def _slope(logits: np.ndarray, label: np.ndarray, temperature: float) -> float:
    """The derivative of the negative log-likelihood by 1 / T."""
    z = logits.astype(np.float64)
    expected = (outcomes.softmax(logits, temperature) * z).sum(-1)
    return float(np.mean(expected - z[np.arange(len(label)), label]))
