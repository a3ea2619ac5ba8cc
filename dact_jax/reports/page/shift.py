"""How different the class frequencies of source, target and picks are."""

import math
from typing import NamedTuple

import numpy as np

LARGE = 0.2  # a distance beyond chance that is called large


class Frequencies(NamedTuple):
    """How often each class occurs somewhere."""

    name: str
    counts: np.ndarray  # float[K], not all 0


class Distance(NamedTuple):
    """Between two frequencies: half the sum of all differences, in [0, 1]."""

    one: str
    other: str
    value: float
    chance: float  # what two such samples of equal frequencies would have on average
    large: bool


def shares(frequencies: Frequencies) -> np.ndarray:
    """float[K], which add up to 1."""
    return np.asarray(frequencies.counts / frequencies.counts.sum())


def distance(one: Frequencies, other: Frequencies) -> Distance:
    """The total variation distance, beside what chance alone would give.

    By chance, the share of a class differs by a normal variable whose variance is that
    of both samples; its mean absolute value is sqrt(2 / pi) standard deviations.
    """
    p, q = shares(one), shares(other)
    value = 0.5 * float(np.abs(p - q).sum())
    counts = one.counts + other.counts
    mean = counts / counts.sum()
    weight = 1 / one.counts.sum() + 1 / other.counts.sum()
    spread = np.sqrt(mean * (1 - mean) * weight)
    chance = 0.5 * math.sqrt(2 / math.pi) * float(spread.sum())
    return Distance(one.name, other.name, value, chance, value - chance > LARGE)
