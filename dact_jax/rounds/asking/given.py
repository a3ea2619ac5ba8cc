"""What a person has answered, as labels of the target's rows."""

import pathlib

import numpy as np
from absl import logging

from dact_jax import errors
from dact_jax.rounds import answers
from dact_jax.run_types import Experiment, Run
from dact_jax.types import SKIPPED, UNLABELED


def read(run: Run, folder: pathlib.Path) -> np.ndarray:
    """int32[N_t]: the class, SKIPPED, or UNLABELED where there is no answer.

    Raises:
      InputError: labels.csv names an image or a class that the run does not have.
    """
    target, names = run.task.target, run.task.class_names
    number = {name: k for k, name in enumerate(names)}
    row = {name: i for i, name in enumerate(target.id.tolist())}
    label = np.full(len(target.id), UNLABELED, np.int32)
    for id, answer in answers.latest(answers.read(folder)).items():
        where = f"{folder / answers.FILE}: image {errors.quoted(id)}"
        if id not in row:
            raise errors.InputError(
                f"{where} is not in the training pool of {target.name}; "
                f"{errors.suggestion(id, row)}"
            )
        if not answer.skip and answer.label not in number:
            raise errors.InputError(
                f"{where} has the label {errors.quoted(answer.label)}, which is no "
                f"class; {errors.suggestion(answer.label, names)}"
            )
        label[row[id]] = SKIPPED if answer.skip else number[answer.label]
    return label


def corrected(label: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Rows whose label was used, and answered differently later: bool[N_t].

    Args:
      label: int32[N_t], in use.
      given: int32[N_t], of `read`.
    """
    answered = (label != UNLABELED) & (given != UNLABELED)
    return np.asarray(answered & (label != given))


def correct(label: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The labels with all corrections, int32[N_t].

    An image that was skipped and has a label now goes back to the pool: it costs a
    label only once it is picked.
    """
    changed = corrected(label, given)
    after = np.where(label == SKIPPED, np.int32(UNLABELED), given)
    return np.where(changed, after, label)


def warn_of_late(run: Run, experiment: Experiment, folder: pathlib.Path) -> None:
    """Tells of answers that were corrected after the last purchase of a run."""
    late = int(corrected(experiment.label, read(run, folder)).sum())
    if late:
        answered, differ = ("answer", "differs") if late == 1 else ("answers", "differ")
        logging.warning(
            "%d %s in %s %s from what the run has used: no purchase came after the "
            "correction, so it is recorded, but counts for nothing.",
            late,
            answered,
            folder / answers.FILE,
            differ,
        )
