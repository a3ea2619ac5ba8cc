"""Labels, confidences and margins, from the outputs of a network."""

from typing import NamedTuple

import numpy as np

from dact_jax.types import UNLABELED


class Outcome(NamedTuple):
    """What is said of n images."""

    label: np.ndarray  # int32[n]; UNLABELED below the confidence that is wanted
    guess: np.ndarray  # int32[n], the most likely class of each
    confidence: np.ndarray  # float32[n], its probability
    margin: np.ndarray  # float32[n], how much that is above the second's
    probabilities: np.ndarray  # float32[n, K]


def of_logits(
    logits: np.ndarray, *, temperature: float = 1.0, abstain: float = 0.0
) -> Outcome:
    """Decides by the largest logit.

    Args:
      logits: float32[n, K], K >= 2.
      temperature: that the logits are divided by (Guo et al., ICML 2017, eq. 9).
      abstain: a label needs at least this confidence.
    """
    probabilities = softmax(logits, temperature)
    guess = logits.argmax(-1).astype(np.int32)
    second, first = np.partition(probabilities, -2)[:, -2:].T
    label = np.where(first >= abstain, guess, UNLABELED).astype(np.int32)
    return Outcome(
        label,
        guess,
        first.astype(np.float32),
        (first - second).astype(np.float32),
        probabilities.astype(np.float32),
    )


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities float64[n, K] of logits [n, K]."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
