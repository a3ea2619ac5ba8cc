"""Accuracy on the target, and which of a round's networks is kept."""

from typing import Any, NamedTuple

import jax
import numpy as np

from dact_jax.run_types import Experiment, Run, Track
from dact_jax.training import inference
from dact_jax.types import (
    UNLABELED,
    Examples,
    Pools,
    Row,
    TrainState,
    Variables,
)


class Scores(NamedTuple):
    """Accuracies in [0, 1]; None where no image has a label."""

    test: float | None
    test_mean_class: float | None
    val: float | None


def evaluate(run: Run, variables: Variables, pools: Pools) -> Scores:
    """Test and validation accuracies of a network."""
    target = run.task.target
    return Scores(
        *_accuracies(run, variables, target.test, tested(run, pools)),
        _accuracies(run, variables, target.val, _labelled(target.val))[0],
    )


class Tested(NamedTuple):
    """The n test images that are evaluated."""

    row: np.ndarray  # int64[n] of the test images
    logits: np.ndarray  # float32[n, K]
    label: np.ndarray  # int[n], true classes


def test(run: Run, variables: Variables, pools: Pools) -> Tested:
    """What a network says of the test images that are evaluated.

    Without a test image that has a label, n is 0.
    """
    images, counted = run.task.target.test, tested(run, pools)
    row = np.flatnonzero(counted)
    if not row.size:
        empty = np.zeros((0, len(run.task.class_names)), np.float32)
        return Tested(row, empty, np.zeros(0, np.int64))
    logits = _logits(run, variables, images)
    return Tested(row, logits[row], np.asarray(images.label)[row])


def measure(run: Run, experiment: Experiment) -> Row:
    """The row of a finished round: label counts and accuracies of three networks.

    `test_accuracy` is that of the last network, `test_at_best_val` that of the network
    with the best validation accuracy among those evaluated in the round. `best_test` is
    the best test accuracy: its network is chosen by the labels that measure it.
    """
    target, pools = run.task.target, experiment.pools
    scores = evaluate(run, experiment.train.variables, pools)
    num_steps = int(experiment.train.step)
    track = update(experiment.track, scores, num_steps, kept=())
    counts = np.bincount(
        experiment.label[pools.target], minlength=len(run.task.class_names)
    )
    return {
        "event": "round",
        "round": experiment.round,
        "step": num_steps,
        "labels_target": int(pools.target.sum()),
        "labels_val": len(target.val.label),
        "source_samples": int(pools.source.sum()),
        "source_pool": len(pools.source),
        "test_accuracy": scores.test,
        "test_mean_class_accuracy": scores.test_mean_class,
        "val_accuracy": scores.val,
        "best_val": _known(track.val),
        "best_val_step": None if track.val < 0 else track.step,
        "test_at_best_val": _known(track.test_at_val),
        "best_test": _known(track.best_test),
        "test_images": int(tested(run, pools).sum()),
        "labels_per_class": dict(
            zip(run.task.class_names, counts.tolist(), strict=True)
        ),
        "seconds": experiment.seconds,
    }


def begin(run: Run, train: TrainState) -> Track:
    """The track of a round before its first evaluation."""
    kept = copy(train.variables) if run.evaluation.keep == "best_val" else ()
    return Track(-1.0, -1.0, 0, -1.0, kept)


def observe(run: Run, experiment: Experiment) -> tuple[Track, Row]:
    """Evaluates during a round: the track afterwards, and a row of metrics."""
    variables = experiment.train.variables
    scores = evaluate(run, variables, experiment.pools)
    num_steps = int(experiment.train.step)
    previous = experiment.track
    kept = previous.kept
    if run.evaluation.keep == "best_val" and _better(previous, scores):
        kept = copy(variables)
    row = {
        "event": "eval",
        "round": experiment.round,
        "step": num_steps,
        "test_accuracy": scores.test,
        "val_accuracy": scores.val,
    }
    return update(previous, scores, num_steps, kept=kept), row


def update(previous: Track, scores: Scores, step: int, *, kept: Any) -> Track:
    """The track after one more evaluation.

    Args:
      scores: of the network after `step` iterations.
      kept: the variables to keep.
    """
    test = -1.0 if scores.test is None else scores.test
    best_test = max(previous.best_test, test)
    if not _better(previous, scores):
        return previous._replace(best_test=best_test, kept=kept)
    assert scores.val is not None
    return Track(scores.val, test, step, best_test, kept)


def choose(run: Run, experiment: Experiment, row: Row) -> Experiment:
    """The experiment with the weights that selection and the next round start from.

    These are the last ones or, with eval.keep="best_val", the best by validation.

    Args:
      experiment: with the last weights.
      row: of `measure`.
    """
    if run.evaluation.keep == "last" or row["best_val_step"] == row["step"]:
        return experiment
    train = experiment.train._replace(variables=copy(experiment.track.kept))
    return experiment._replace(train=train)


def copy(tree: Any) -> Any:
    """The same values in new buffers, since training donates the ones that it gets."""
    return jax.tree.map(lambda leaf: leaf.copy(), tree)


def _better(previous: Track, scores: Scores) -> bool:
    return scores.val is not None and scores.val >= previous.val


def _known(accuracy: float) -> float | None:
    return None if accuracy < 0 else accuracy


def tested(run: Run, pools: Pools) -> np.ndarray:
    """bool[N], test images that are evaluated."""
    target = run.task.target
    tested = _labelled(target.test)
    if target.test is target.train:
        # Transductive: the test images are the pool without its labelled part.
        tested &= ~pools.target
    return tested


def _labelled(examples: Examples) -> np.ndarray:
    return np.asarray(examples.label) != UNLABELED


def _accuracies(
    run: Run, variables: Variables, examples: Examples, counted: np.ndarray
) -> tuple[float | None, float | None]:
    """Accuracy over images, and its mean over classes."""
    if not counted.any():
        return None, None
    logits, label = _logits(run, variables, examples), examples.label
    return (
        inference.accuracy(logits, label, counted),
        inference.mean_class_accuracy(logits, label, counted),
    )


def _logits(run: Run, variables: Variables, examples: Examples) -> np.ndarray:
    """The classifier's outputs, float32[N, K]."""
    return inference.sweep(
        run.evaluation.score,
        variables,
        examples,
        run.evaluation.domain,
        batch_size=run.evaluation.batch,
    ).outputs["classifier"]
