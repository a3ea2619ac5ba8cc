"""Predicted loss, lowest first: which source samples D_AcT keeps (Algorithm 2, 6-8).

Yoo & Kweon (CVPR 2019) buy labels where the predicted loss is *largest*. D_AcT turns
that round, on the source: a small loss is taken for closeness to the target. What it
sorts by, equation 6, belongs to pairs; the scores differ in how a row gets one.
"""

import math
from typing import Literal, get_args

import jax
import numpy as np

from dact_jax import errors
from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Evidence, Key, Picked

NEEDS = ("predicted_loss",)  # outputs that it reads besides the classifier's
# Options with which it reads no labels, so that it can rank the target.
ON_TARGET = {"score": "pred", "classes": "any"}

Score = Literal["pair", "mean_pair", "pred", "actual", "absdiff"]
Classes = Literal["any", "proportional", "balanced"]


def make(
    *, score: Score = "pair", margin: float = 1.0, classes: Classes = "any"
) -> Acquire:
    """The rows of lowest score among those not taken.

    Ties go to the lower predicted loss, then to the lower row. In large pools the
    ranking loss of many a pair is exactly 0, so it is the ties that decide: in no
    order, they would give samples of more than average loss.

    Args:
      score: with l the actual and lhat the predicted loss of a row,
        "pair": the ranking loss of the pair that it is drawn into (the paper's);
        "mean_pair": the mean of its ranking loss with each other row;
        "pred": lhat; "actual": l; "absdiff": |lhat - l|.
      margin: epsilon of the ranking loss of pairs; of the ranking, as that of method
        "loss_prediction" is of training.
      classes: "any", the lowest of all rows (the paper's), which may be of few classes;
        "proportional", the lowest of each class, as many as it has a share of the free
        rows; "balanced", as many of each class as of any other, while it has some.

    Returns:
      An acquisition that reads the outputs "predicted_loss" and, but for "pred",
      "actual_loss", float32[N] each: it looks at the label of every free row. So it
      does where classes count.

    Raises:
      InputError: an option is unknown or out of its range.
    """
    check(score=score, margin=margin, classes=classes)

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        free = _ranking.free_rows(taken, budget)
        predicted = _losses(evidence, "predicted_loss", taken.size)[free]
        if score == "pred":
            actual = None
        elif "actual_loss" in evidence.outputs:
            actual = _losses(evidence, "actual_loss", taken.size)[free]
        else:
            raise errors.InputError(
                f"acquisitions.predicted_loss.score={score!r} needs the labels of the "
                "pool, which only the source has; 'pred' does not."
            )
        # NumPy's: the pool shrinks each time, and nothing is to be compiled for that.
        seed = np.asarray(jax.random.key_data(key))
        order = np.random.default_rng(seed).permutation(free.size)
        value = scores(score, predicted, actual, order=order, margin=margin)
        first = ranked(value, predicted)
        if classes != "any":
            label = _labels(evidence, classes)[free]
            first = spread(first, label, proportional=classes == "proportional")
        first = first[:budget]
        looked = actual is not None or classes != "any"
        return Picked(
            free[first],
            value[first].astype(np.float32),
            labels_read=free.size if looked else 0,
        )

    return acquire


def check(*, score: str, margin: float, classes: str) -> None:
    """Raises InputError if an option is unknown or out of its range."""
    name = "acquisitions.predicted_loss"
    errors.check_choice(f"{name}.score", score, get_args(Score))
    errors.check_choice(f"{name}.classes", classes, get_args(Classes))
    if not (margin >= 0 and math.isfinite(margin)):
        raise errors.InputError(
            f"{name}.margin={margin} must be 0 or more, and finite."
        )


def scores(
    score: Score,
    predicted: np.ndarray,
    actual: np.ndarray | None,
    *,
    order: np.ndarray,
    margin: float,
) -> np.ndarray:
    """float64[n], what each row is sorted by.

    Args:
      score: one of those that `make` lists.
      predicted: float[n], lhat.
      actual: float[n], l; None if the score is "pred".
      order: int[n], a permutation: its i-th row from the front is paired with its
        i-th from the back, the middle one of an odd number with itself.
      margin: epsilon of the ranking loss.
    """
    predicted = np.asarray(predicted, np.float64)
    if score == "pred":
        return predicted
    assert actual is not None
    actual = np.asarray(actual, np.float64)
    if score == "actual":
        return actual
    if score == "absdiff":
        return np.abs(predicted - actual)
    if score == "mean_pair":
        return _mean_pair(predicted, actual, margin)
    return _pair(predicted, actual, order, margin)


def ranked(value: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """int[n], rows by value, then by predicted loss, then by place, all ascending.

    Args:
      value: float[n], of `scores`.
      predicted: float[n], lhat.
    """
    return np.lexsort((np.arange(value.size), predicted, value))


def spread(order: np.ndarray, label: np.ndarray, *, proportional: bool) -> np.ndarray:
    """int[n], rows in an order whose every beginning holds all classes alike.

    Args:
      order: int[n], rows by what they are ranked by; kept within a class.
      label: int[n], of the rows 0 .. n - 1.
      proportional: classes come as often as they are in `label`; else equally often, a
        class that is used up no more.
    """
    label = label[order]
    grouped = np.argsort(label, kind="stable")
    _, first, count = np.unique(label[grouped], return_index=True, return_counts=True)
    place = np.empty(label.size)
    place[grouped] = np.arange(label.size) - np.repeat(first, count) + 0.5
    if proportional:
        place[grouped] /= np.repeat(count, count)
    return order[np.argsort(place, kind="stable")]


def _labels(evidence: Evidence, classes: str) -> np.ndarray:
    if evidence.label is None:
        raise errors.InputError(
            f"acquisitions.predicted_loss.classes={classes!r} needs the labels of the "
            "pool, which only the source has; 'any' does not."
        )
    return np.asarray(evidence.label)


def _pair(
    predicted: np.ndarray, actual: np.ndarray, order: np.ndarray, margin: float
) -> np.ndarray:
    half = (order.size + 1) // 2
    one, other = order[:half], order[::-1][:half]
    difference = predicted[one] - predicted[other]
    sign = np.where(actual[one] > actual[other], 1.0, -1.0)
    value = np.zeros(order.size)
    value[one] = value[other] = np.maximum(0.0, margin - sign * difference)
    return value


def _mean_pair(predicted: np.ndarray, actual: np.ndarray, margin: float) -> np.ndarray:
    """A row at a time: n^2 numbers of work, n of memory."""
    n = predicted.size
    order = np.argsort(actual, kind="stable")
    ranked = predicted[order]
    below = np.searchsorted(actual[order], actual[order])  # rows of smaller loss
    value, each = np.zeros(n), np.zeros(n)
    for place, count in enumerate(below):
        # I = 1 with rows of smaller loss, -1 with the others.
        np.subtract(ranked[:count], ranked[place] - margin, out=each[:count])
        np.subtract(ranked[place] + margin, ranked[count:], out=each[count:])
        np.maximum(each, 0.0, out=each)
        each[place] = 0.0
        value[order[place]] = each.sum()
    return value / max(n - 1, 1)


def _losses(evidence: Evidence, name: str, num_rows: int) -> np.ndarray:
    """float32[num_rows], finite."""
    values = evidence.outputs.get(name)
    if values is None or np.shape(values) != (num_rows,):
        found = "none" if values is None else f"one of shape {np.shape(values)}"
        raise errors.InputError(
            f"acquisition 'predicted_loss' needs the output {name!r}, a number for "
            f"each of {num_rows} images, and there is {found}."
        )
    return np.asarray(_ranking.matrix(values[:, None], name, num_rows))[:, 0]
