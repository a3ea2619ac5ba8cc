"""The validation images of a run, read by its recorded config, for calibration."""

import functools
import pathlib
from typing import NamedTuple

import numpy as np

from dact_jax import errors
from dact_jax.classifier import Classifier
from dact_jax.configuration import build_data
from dact_jax.configuration.domains import embedded
from dact_jax.embedding import sweep
from dact_jax.embedding.sweep import Progress
from dact_jax.prediction.sweeping import NOT_KEPT, Caches
from dact_jax.rounds import claim, workdir
from dact_jax.types import UNLABELED


class Labelled(NamedTuple):
    """What the network gives for the validation images that have a label."""

    logits: np.ndarray  # float32[n, K]
    label: np.ndarray  # int32[n]


def check(folder: pathlib.Path) -> None:
    """Checks that a run has validation labels, as far as its record tells.

    Raises:
      InputError: it has none.
    """
    rows = [row for row in workdir.read(folder) if row["event"] == "round"]
    if rows and not any(row["labels_val"] for row in rows):
        raise _no_labels(folder)


def outputs(
    classifier: Classifier,
    folder: pathlib.Path,
    *,
    backbone: str = "",
    caches: Caches = NOT_KEPT,
    progress: Progress = lambda done, total: None,
) -> Labelled:
    """Reads the data of a run and passes its validation images through the network.

    Args:
      folder: of the run.
      backbone: where the weights of its backbone are now; "": where they were.
      caches: of the backbone's vectors.
      progress: is told how far images of the run are embedded.

    Raises:
      InputError: the data are gone or have changed, or no validation image has a
        label.
    """
    check(folder)
    config = classifier.config.copy_and_resolve_references()
    if backbone:
        config.model.backbone = backbone
    embed = functools.partial(sweep.embed, cache=caches.written, known=caches.known)
    embedding = embedded.make_embedding(config, embed, progress)
    try:
        task, data = build_data.read(config, embedding)
    except errors.InputError as error:
        raise errors.InputError(
            f"--calibrate reads the data of the run in {folder}: {errors.clause(error)}"
        ) from None
    for name, recorded in claim.read(folder).data.items():
        if data.get(name) != recorded:
            raise errors.InputError(
                f"--calibrate reads the data of the run in {folder}, and its {name} "
                "has changed since the run began: put the old files back, or leave "
                "--calibrate out."
            )
    val = task.target.val
    known = np.flatnonzero(np.asarray(val.label) != UNLABELED)
    if not len(known):
        raise _no_labels(folder)
    found = classifier.sweep(val.image, batch_size=classifier.network.batch)
    logits = found.outputs["classifier"]
    return Labelled(logits[known], np.asarray(val.label)[known])


def _no_labels(folder: pathlib.Path) -> errors.InputError:
    return errors.InputError(
        f"--calibrate needs validation labels, and the run in {folder} has none: leave "
        "--calibrate out, or start a run on a target that has some labels, with "
        "data.val_per_class above 0."
    )
