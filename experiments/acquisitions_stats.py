"""Statistics of paired runs: sign tests, Holm's correction, ranks over cells.

A cell is a task, an adaptation and a number of labels a class. In each cell every
method has a value a seed.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05  # of all tests
_DIGITS = 9  # of a mean: without rounding errors, which would give 0 a sign


class Paired(NamedTuple):
    """A method beside a rival with the same seeds, in one cell."""

    wins: int  # seeds in which it is better
    losses: int
    num: int  # seeds; those that are neither are ties
    mean: float  # of the differences
    p: float  # of the exact two-sided sign test; ties do not count


def paired(values: Mapping[int, float], rival: Mapping[int, float]) -> Paired:
    """Compares values by seed; seeds that one of them lacks do not count.

    Raises:
      ValueError: no seed has both.
    """
    seeds = sorted(values.keys() & rival.keys())
    if not seeds:
        raise ValueError("no seed has both values")
    differences = np.array([values[seed] - rival[seed] for seed in seeds])
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    decided = wins + losses
    p = stats.binomtest(wins, decided).pvalue if decided else 1.0
    mean = round(float(differences.mean()), _DIGITS)
    return Paired(wins, losses, len(seeds), mean, float(p))


def holm(p: Sequence[float]) -> list[float]:
    """The p-values corrected for their number (Holm, 1979), in the same order."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(order))
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.maximum.accumulate(np.asarray(p, float)[order] * factors)
    return np.minimum(corrected, 1.0).tolist()


class Tally(NamedTuple):
    """A method beside a rival over cells."""

    cells: int
    positive: float  # share of cells with a positive mean difference
    better: int  # cells that are significantly better, by Holm over the family
    worse: int
    mean: float  # of the mean differences
    least: float  # the lowest mean difference


def tally(cells: Sequence[Paired], families: Sequence[object]) -> Tally:
    """Sums up cells.

    Args:
      cells: at least one.
      families: of each cell, the tests that are corrected together.
    """
    better = worse = 0
    for family in dict.fromkeys(families):
        of_it = [c for c, f in zip(cells, families, strict=True) if f == family]
        for cell, p in zip(of_it, holm([c.p for c in of_it]), strict=True):
            better += p < LEVEL and cell.wins > cell.losses
            worse += p < LEVEL and cell.losses > cell.wins
    means = [cell.mean for cell in cells]
    positive = float(np.mean([mean > 0 for mean in means]))
    return Tally(len(cells), positive, better, worse, float(np.mean(means)), min(means))


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """float64[methods], the mean rank of each over blocks; 1 is best, ties share.

    Args:
      values: float[blocks, methods]; more is better.
    """
    return stats.rankdata(-np.asarray(values), axis=1).mean(0)


def critical_difference(num_methods: int, num_blocks: int) -> float:
    """The difference of mean ranks that is significant by Nemenyi's test.

    q sqrt(k (k + 1) / (6 N)), with q the studentized range over sqrt(2) (Demsar, JMLR
    2006, section 3.2.2).
    """
    q = stats.studentized_range.ppf(1 - LEVEL, num_methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(num_methods * (num_methods + 1) / (6 * num_blocks)))
