"""Lowest predicted loss first: the source samples that D_AcT keeps (Algorithm 2, 6-8).

Yoo & Kweon (CVPR 2019) buy labels where the predicted loss is *highest*. D_AcT takes
the lowest, on the source: it reads a small loss as closeness to the target. It sorts by
the ranking loss of pairs (equation 6), with l the actual and lhat the predicted loss:
max(0, -I (lhat_i - lhat_j) + epsilon), I = 1 if l_i > l_j, else -1. That is a number of
a pair; the scores below differ in how a single row gets one.
"""

from typing import Literal, get_args

import jax
import numpy as np

from dact_jax import errors, kinds
from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Evidence, Key, Picked

SCORE = "the loss that the images are ranked by: the lowest is first"
NEEDS = ("predicted_loss",)  # outputs that it reads besides the classifier's
# Options with which it reads no labels, so that it can rank the target.
ON_TARGET = {"score": "pred", "classes": "any"}

Score = Literal["pair", "mean_pair", "pred", "actual", "absdiff"]
Classes = Literal["any", "proportional", "balanced"]


OPTIONS = {
    "score": kinds.Option(kinds.choice(*get_args(Score)), "what ranks a row"),
    "margin": kinds.Option(kinds.real(), "epsilon, of the score pair"),
    "classes": kinds.Option(kinds.choice(*get_args(Classes)), "how many of each class"),
}


def make(
    *, score: Score = "pair", margin: float = 1.0, classes: Classes = "any"
) -> Acquire:
    """The free rows of lowest score.

    Ties go to the lower predicted loss, then to the lower row. In large pools the
    ranking loss of many pairs is exactly 0, so the tie rule decides; ties in random
    order would select samples of more than average loss.

    Args:
      score: with l the actual and lhat the predicted loss of a row,
        "pair": the ranking loss of the random pair that holds the row (the paper's);
        "mean_pair": the mean ranking loss of its pairs with all other free rows;
        "pred": lhat; "actual": l; "absdiff": |lhat - l|.
      margin: epsilon of the ranking loss used here; method "loss_prediction" has its
        own for training.
      classes: "any", the lowest of all rows (the paper's), possibly of few classes;
        "proportional", the lowest of each class, in proportion to the classes of the
        free rows; "balanced", the same number of each class until it has no more.

    Returns:
      An acquisition that reads the outputs "predicted_loss" and, except for "pred",
      "actual_loss", float32[N] each. With "actual_loss", or with `classes` other than
      "any", it reads the label of every free row (`Picked.labels_read`).
    """

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
                "pool, which only the source has; 'pred' needs none."
            )
        # NumPy's generator: JAX would compile anew for each size of the pool.
        seed = np.asarray(jax.random.key_data(key))
        order = np.random.default_rng(seed).permutation(free.size)
        value = scores(score, predicted, actual, order=order, margin=margin)
        ranking = ranked(value, predicted)
        if classes != "any":
            label = _labels(evidence, classes)[free]
            ranking = spread(ranking, label, proportional=classes == "proportional")
        first = ranking[:budget]
        reads_labels = actual is not None or classes != "any"
        return Picked(
            free[first],
            value[first].astype(np.float32),
            labels_read=free.size if reads_labels else 0,
        )

    return acquire


def scores(
    score: Score,
    predicted: np.ndarray,
    actual: np.ndarray | None,
    *,
    order: np.ndarray,
    margin: float,
) -> np.ndarray:
    """float64[n], the value that each row is sorted by.

    Args:
      score: as in `make`.
      predicted: float[n], lhat.
      actual: float[n], l; None if the score is "pred".
      order: int[n], a permutation of the rows that forms the pairs of score "pair":
        its i-th row with its i-th from the end; with n odd, the middle with itself.
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
    """int[n], rows sorted by value, then predicted loss, then row, all ascending.

    Args:
      value: float[n], of `scores`.
      predicted: float[n], lhat.
    """
    return np.lexsort((np.arange(value.size), predicted, value))


def spread(order: np.ndarray, label: np.ndarray, *, proportional: bool) -> np.ndarray:
    """int[n], the order with classes interleaved, so that every prefix is mixed.

    Args:
      order: int[n], rows by rank; rows of one class keep their order.
      label: int[n], classes of rows 0 .. n - 1.
      proportional: each class appears in proportion to its frequency in `label`; if
        False, classes take turns until they are used up.
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
            "pool, which only the source has; 'any' needs none."
        )
    return np.asarray(evidence.label)


def _pair(
    predicted: np.ndarray, actual: np.ndarray, order: np.ndarray, margin: float
) -> np.ndarray:
    half = (order.size + 1) // 2
    left, right = order[:half], order[::-1][:half]
    difference = predicted[left] - predicted[right]
    sign = np.where(actual[left] > actual[right], 1.0, -1.0)
    value = np.zeros(order.size)
    value[left] = value[right] = np.maximum(0.0, margin - sign * difference)
    return value


def _mean_pair(predicted: np.ndarray, actual: np.ndarray, margin: float) -> np.ndarray:
    """One row at a time, so that memory is O(n); time is O(n^2)."""
    n = predicted.size
    order = np.argsort(actual, kind="stable")
    by_loss = predicted[order]
    smaller = np.searchsorted(actual[order], actual[order])  # rows of smaller loss
    value, pair_loss = np.zeros(n), np.zeros(n)
    for place, count in enumerate(smaller):
        # I = 1 for pairs with rows of smaller loss, -1 for the others.
        np.subtract(by_loss[:count], by_loss[place] - margin, out=pair_loss[:count])
        np.subtract(by_loss[place] + margin, by_loss[count:], out=pair_loss[count:])
        np.maximum(pair_loss, 0.0, out=pair_loss)
        pair_loss[place] = 0.0  # no pair with itself
        value[order[place]] = pair_loss.sum()
    return value / max(n - 1, 1)


def _losses(evidence: Evidence, name: str, num_rows: int) -> np.ndarray:
    """float32[num_rows], finite."""
    values = evidence.outputs.get(name)
    if values is None or np.shape(values) != (num_rows,):
        actual = (
            "there is none" if values is None else f"its shape is {np.shape(values)}"
        )
        raise errors.InputError(
            f"acquisition 'predicted_loss' needs the output {name!r}, one number for "
            f"each of {num_rows} images, but {actual}."
        )
    return np.asarray(_ranking.finite_matrix(values[:, None], name, num_rows))[:, 0]
