"""The order of a row's neighbors, in which distances that nearly agree tie."""

from typing import NamedTuple

import numpy as np

TIE = 1e-12  # share of a squared distance


class Nearest(NamedTuple):
    """The nearest of n rows, themselves included, in order."""

    kind: np.ndarray  # int64[n, m], of distinct rows
    squared: np.ndarray  # float64[n, m]
    tie: np.ndarray  # int64[n, m], equal for those that tie, ascending


def ordered(kind: np.ndarray, squared: np.ndarray, floor: float) -> Nearest:
    """All of them by their distances; those that tie by their numbers.

    Args:
      kind: int64[n, m].
      squared: float64[n, m].
      floor: that squared distances of different rows may differ by and still tie.
    """
    order = np.argsort(squared, 1, kind="stable")
    kind = np.take_along_axis(kind, order, 1)
    squared = np.take_along_axis(squared, order, 1)
    tie = np.zeros(kind.shape, np.int64)
    farther = squared[:, 1:] > squared[:, :-1] * (1 + TIE) + floor
    np.cumsum(farther, 1, out=tie[:, 1:])
    order = np.lexsort((kind, tie))
    kind = np.take_along_axis(kind, order, 1)
    return Nearest(kind, np.take_along_axis(squared, order, 1), tie)


def first(nearest: Nearest, num: int) -> Nearest:
    """The first `num` of each row."""
    return Nearest(*(values[:, :num] for values in nearest))


def reach(nearest: Nearest, num: int, floor: float) -> np.ndarray:
    """float64[n], squared distances up to which a row may be one of the first `num`.

    Those beyond neither come before the `num`-th nor tie with it.
    """
    tied = nearest.tie == nearest.tie[:, num - 1 : num]
    farthest = np.max(nearest.squared, 1, where=tied, initial=0)
    return farthest * (1 + TIE) + floor


def joined(parts: list[Nearest], num: int) -> Nearest:
    """Of the rows of all parts, each with `num` of its nearest."""
    none = np.empty((0, num))
    parts = [Nearest(none.astype(np.int64), none, none.astype(np.int64)), *parts]
    return Nearest(*(np.concatenate(values) for values in zip(*parts, strict=True)))
