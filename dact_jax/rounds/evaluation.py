"""How good a network is on the target, and which of a round's networks goes on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from dact_jax import devices
from dact_jax.run_types import Run
from dact_jax.training import inference
from dact_jax.types import (
    UNLABELED,
    Examples,
    Experiment,
    Pools,
    Track,
    TrainState,
    Variables,
)


class Scores(NamedTuple):
    """In [0, 1]; None where no image has a label."""

    test: float | None
    test_mean_class: float | None
    val: float | None


def evaluate(run: Run, variables: Variables, pools: Pools) -> Scores:
    """Test and validation accuracies of a network."""
    target = run.task.target
    return Scores(
        *_accuracies(run, variables, target.test, _tested(run, pools)),
        _accuracies(run, variables, target.val, _labelled(target.val))[0],
    )


def measure(run: Run, experiment: Experiment) -> Mapping[str, Any]:
    """The row of a finished round: label counts and accuracies.

    `test_accuracy` is the last network's. `test_at_best_val` is that of the network
    with the best validation accuracy among those evaluated in the round, `best_test`
    the best of all: it was chosen by the labels that it is measured on.
    """
    target, pools = run.task.target, experiment.pools
    scores = evaluate(run, experiment.train.variables, pools)
    at = int(experiment.train.step)
    seen = update(experiment.track, scores, at, kept=())
    counts = np.bincount(
        experiment.label[pools.target], minlength=len(run.task.class_names)
    )
    return {
        "event": "round",
        "round": experiment.round,
        "step": at,
        "labels_target": int(pools.target.sum()),
        "labels_val": len(target.val.label),
        "source_samples": int(pools.source.sum()),
        "source_pool": len(pools.source),
        "test_accuracy": scores.test,
        "test_mean_class_accuracy": scores.test_mean_class,
        "val_accuracy": scores.val,
        "best_val": _known(seen.val),
        "best_val_step": None if seen.val < 0 else seen.step,
        "test_at_best_val": _known(seen.test_at_val),
        "best_test": _known(seen.best_test),
        "test_images": int(_tested(run, pools).sum()),
        "labels_per_class": dict(
            zip(run.task.class_names, counts.tolist(), strict=True)
        ),
        "seconds": experiment.seconds,
    }


def begin(run: Run, train: TrainState) -> Track:
    """What a round has seen before its first evaluation."""
    kept = copy(train.variables) if run.evaluation.keep == "best_val" else ()
    return Track(-1.0, -1.0, 0, -1.0, kept)


def observe(run: Run, experiment: Experiment) -> tuple[Track, Mapping[str, Any]]:
    """Evaluates in the middle of a round: what is known then, and a row of it."""
    variables = experiment.train.variables
    scores = evaluate(run, variables, experiment.pools)
    at = int(experiment.train.step)
    old = experiment.track
    kept = old.kept
    if run.evaluation.keep == "best_val" and _better(old, scores):
        kept = copy(variables)
    row = {
        "event": "eval",
        "round": experiment.round,
        "step": at,
        "test_accuracy": scores.test,
        "val_accuracy": scores.val,
    }
    return update(old, scores, at, kept=kept), row


def update(old: Track, scores: Scores, step: int, *, kept: Any) -> Track:
    """What is known after one more evaluation.

    Args:
      old: before it.
      scores: of the network at that step.
      step: iterations done.
      kept: the variables to keep from now on.
    """
    test = -1.0 if scores.test is None else scores.test
    best_test = max(old.best_test, test)
    if not _better(old, scores):
        return old._replace(best_test=best_test, kept=kept)
    assert scores.val is not None
    return Track(scores.val, test, step, best_test, kept)


def choose(run: Run, experiment: Experiment, row: Mapping[str, Any]) -> Experiment:
    """The experiment with the weights that go on to selection and the next round.

    Args:
      run: says whether those are the last or the best by validation.
      experiment: with the last ones.
      row: of `measure`.
    """
    if run.evaluation.keep == "last" or row["best_val_step"] == row["step"]:
        return experiment
    train = experiment.train._replace(variables=copy(experiment.track.kept))
    return experiment._replace(train=train)


def copy(tree: Any) -> Any:
    """The same values in buffers of their own: training donates the ones it gets."""
    return jax.tree.map(lambda leaf: leaf.copy(), tree)


def _better(old: Track, scores: Scores) -> bool:
    return scores.val is not None and scores.val >= old.val


def _known(accuracy: float) -> float | None:
    return None if accuracy < 0 else accuracy


def _tested(run: Run, pools: Pools) -> np.ndarray:
    """bool[N], test images that count."""
    target = run.task.target
    tested = _labelled(target.test)
    if target.test is target.train:
        # Transductive: the pool is what is tested on, less its labelled part.
        tested &= ~pools.target
    return tested


def _labelled(examples: Examples) -> np.ndarray:
    return np.asarray(examples.label) != UNLABELED


def _accuracies(
    run: Run, variables: Variables, examples: Examples, counted: np.ndarray
) -> tuple[float | None, float | None]:
    """Over images, and the mean over classes."""
    if not counted.any():
        return None, None
    evidence = inference.sweep(
        run.evaluation.score,
        variables,
        examples,
        run.evaluation.domain,
        batch_size=run.evaluation.batch,
        sharding=devices.batched(devices.make_mesh()),
    )
    found = evidence.outputs["classifier"], examples.label, counted
    return inference.accuracy(*found), inference.mean_class_accuracy(*found)
