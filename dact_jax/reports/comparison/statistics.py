"""Means over seeds, and tests of paired differences."""

import statistics
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Summary(NamedTuple):
    mean: float
    std: float | None  # of a sample; None of one value


class Paired(NamedTuple):
    """Differences of two methods, one for each seed that both have."""

    differences: Mapping[int, float]  # seed -> first minus second
    mean: float
    std: float | None
    above: int  # seeds with which the first is better
    below: int
    sign: float | None  # p, two-sided; None without a difference
    t: float | None  # p, two-sided; None of fewer than two, or all equal, differences


def mean(values: Iterable[float]) -> float:
    """The mean."""
    return statistics.fmean(values)


def summary(values: Sequence[float]) -> Summary:
    """Mean and standard deviation."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return Summary(mean(values), std)


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> Paired | None:
    """Compares accuracies by seed; None without a seed that both have.

    The sign test counts seeds, without ties, against a fair coin. The t test is that of
    paired samples (Student, 1908).
    """
    from scipy import stats  # slow to import

    seeds = sorted(one.keys() & other.keys())
    if not seeds:
        return None
    difference = {seed: one[seed] - other[seed] for seed in seeds}
    values = list(difference.values())
    above, below = (sum(sign * v > 0 for v in values) for sign in (1, -1))
    sign = t = None
    if above + below:
        sign = float(stats.binomtest(above, above + below).pvalue)
    if len(values) > 1 and max(values) - min(values) > 1e-9:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # nearly equal values
            t = float(stats.ttest_1samp(values, 0.0).pvalue)
    return Paired(difference, *summary(values), above, below, sign, t)


def adjusted(p: Sequence[float | None]) -> list[float | None]:
    """The p values of several tests, corrected for their number (Holm, 1979)."""
    known = [i for i, value in enumerate(p) if value is not None]
    values = np.array([p[i] for i in known], np.float64)
    order = np.argsort(values, kind="stable")
    factor = len(values) - np.arange(len(values))
    raised = np.minimum(np.maximum.accumulate(values[order] * factor), 1)
    found: list[float | None] = [None] * len(p)
    for place, value in zip(order.tolist(), raised.tolist(), strict=True):
        found[known[place]] = value
    return found


def least_sign(count: int) -> float:
    """The smallest p that a sign test of so many seeds can give."""
    return min(1.0, 2.0 ** (1 - count))
