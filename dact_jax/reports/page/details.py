"""What the final network makes of single images: for the page of a finished run."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dact_jax.reports import sweeps
from dact_jax.reports.page import pictures, scatter, shift
from dact_jax.reports.page.pictures import Picture, Source
from dact_jax.reports.page.scatter import Scatter
from dact_jax.reports.page.shift import Distance, Frequencies
from dact_jax.reports.record import Record
from dact_jax.reports.sweeps import Sweeps
from dact_jax.run_types import Experiment, Run
from dact_jax.types import TARGET, UNLABELED

_SHOWN = 24  # worst mistakes, and least certain images
_MOST_BYTES = 350_000  # of the thumbnails of either


class Judged(NamedTuple):
    """One image with what the network says of it."""

    id: str
    predicted: str
    confidence: float  # the probability of the predicted class
    second: str  # the class after it; "" with one class
    margin: float  # by how much its probability is less
    label: str  # "" where it is not known
    picture: Picture | None


class Details(NamedTuple):
    scatter: Scatter | None  # None without an image of the target
    tested: int  # test images
    mistakes: Sequence[Judged]  # of them, the most confident first
    num_mistakes: int
    asked: int  # unlabeled images of the pool that were looked at
    unlabeled: int  # all of them
    unsure: Sequence[Judged]  # of them, the smallest margin first
    frequencies: Sequence[Frequencies]
    distances: Sequence[Distance]
    with_pictures: bool


def gather(record: Record, run: Run, experiment: Experiment, swept: Sweeps) -> Details:
    """Looks at the sweeps of a finished run.

    Raises:
      DivergedError: an embedding is not finite.
    """
    target = run.task.target
    test_images = pictures.source(target.test.image, target.test_files)
    pool_images = pictures.source(target.train.image, target.files)
    tested = swept.test()
    mistakes, num_mistakes = _mistakes(run, swept, test_images)
    has_pool = bool(len(target.train.label))
    part = swept.counted() if has_pool else None
    unsure: Sequence[Judged] = ()
    asked = np.zeros(0, np.int64)
    if part is not None:
        asked = np.flatnonzero(experiment.label[part.rows] == UNLABELED)
        unsure = _unsure(run, part, asked, pool_images)
    frequencies = _frequencies(run, experiment, swept) if has_pool else []
    return Details(
        scatter=scatter.gather(record, run, experiment, swept) if has_pool else None,
        tested=len(tested.row),
        mistakes=mistakes,
        num_mistakes=num_mistakes,
        asked=len(asked),
        unlabeled=int((experiment.label == UNLABELED).sum()),
        unsure=unsure,
        frequencies=frequencies,
        distances=_distances(frequencies),
        with_pictures=test_images is not None or pool_images is not None,
    )


def _mistakes(
    run: Run, swept: Sweeps, images: Source | None
) -> tuple[list[Judged], int]:
    """The most confident of the wrong predictions for test images; and their number."""
    tested, target = swept.test(), run.task.target
    probability = _softmax(tested.logits)
    wrong = np.flatnonzero(tested.logits.argmax(-1) != tested.label)
    order = np.argsort(-probability[wrong].max(-1, initial=0), kind="stable")
    chosen = wrong[order][:_SHOWN]
    ids = target.test_id
    names = [str(ids[row]) if ids is not None else "" for row in tested.row[chosen]]
    judged = _judged(run, probability[chosen], tested.label[chosen], names)
    return _illustrated(judged, images, tested.row[chosen]), len(wrong)


def _unsure(
    run: Run, part: sweeps.Part, asked: np.ndarray, images: Source | None
) -> list[Judged]:
    """The images without a label whose two likeliest classes are closest."""
    probability = _softmax(part.logits[asked])
    order = np.argsort(_margin(probability), kind="stable")[:_SHOWN]
    rows = part.rows[asked][order]
    names = run.task.target.id[rows].tolist()
    unknown = np.full(len(rows), UNLABELED)
    judged = _judged(run, probability[order], unknown, names)
    return _illustrated(judged, images, rows)


def _judged(
    run: Run, probability: np.ndarray, label: np.ndarray, ids: Sequence[str]
) -> list[Judged]:
    names = run.task.class_names
    best = np.argsort(-probability, axis=-1, kind="stable")[:, :2]
    return [
        Judged(
            id=id,
            predicted=names[first[0]],
            confidence=float(p[first[0]]),
            second=names[first[1]] if len(names) > 1 else "",
            margin=float(p[first[0]] - p[first[-1]]),
            label=names[k] if k >= 0 else "",
            picture=None,
        )
        for id, p, first, k in zip(ids, probability, best, label, strict=True)
    ]


def _illustrated(
    judged: Sequence[Judged], images: Source | None, rows: np.ndarray
) -> list[Judged]:
    if images is None:
        return list(judged)
    shown = pictures.thumbnails(images, rows.tolist(), most_bytes=_MOST_BYTES)
    return [
        one._replace(picture=picture)
        for one, picture in zip(judged, shown, strict=True)
    ]


def _frequencies(run: Run, experiment: Experiment, swept: Sweeps) -> list[Frequencies]:
    """Of the source, the target as predicted, its test images, and the picks."""
    size, part = len(run.task.class_names), swept.counted()

    def count(label: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
        counted = label >= 0
        weights = None if weight is None else weight[counted]
        return np.bincount(label[counted], weights, size).astype(np.float64)

    used = np.asarray(experiment.pools.source)
    found = [
        Frequencies("source", count(np.asarray(run.task.source.train.label)[used])),
        Frequencies(
            "target (predicted)",
            count(part.logits.argmax(-1), _weights(experiment, part.rows)),
        ),
        Frequencies("target (test images)", count(swept.test().label)),
        Frequencies("picks", count(experiment.label[experiment.pools.target])),
    ]
    return [one for one in found if one.counts.any()]


def _weights(experiment: Experiment, rows: np.ndarray) -> np.ndarray:
    """float[n]: how many images of the pool each row stands for, adding up to n.

    Of a large pool, picked images are drawn more often than others.
    """
    picked = sweeps.picked(experiment, TARGET)
    weights = np.ones(len(rows))
    for kind in (True, False):
        drawn = picked[rows] == kind
        if drawn.any():
            share = (picked == kind).mean()
            weights[drawn] = share * len(rows) / drawn.sum()
    return weights


def _distances(frequencies: Sequence[Frequencies]) -> list[Distance]:
    """Of the source and of the picks from the target."""
    by_name = {one.name: one for one in frequencies}
    pairs = (
        ("source", "target (predicted)"),
        ("source", "target (test images)"),
        ("picks", "target (predicted)"),
    )
    return [
        shift.distance(by_name[one], by_name[other])
        for one, other in pairs
        if one in by_name and other in by_name
    ]


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(-1, keepdims=True, initial=-np.inf))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


def _margin(probability: np.ndarray) -> np.ndarray:
    """float[n], by how much the likeliest class is more probable than the second."""
    if probability.shape[-1] < 2:
        return np.ones(len(probability))
    ordered = np.sort(probability, axis=-1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])
