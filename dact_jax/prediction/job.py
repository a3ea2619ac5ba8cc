"""All that `python -m dact_jax.predict` does, in its order."""

import contextlib
import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from dact_jax import classifier as classifiers, devices, errors, paths, storage
from dact_jax.classifier import Classifier
from dact_jax.data.readers import decoding
from dact_jax.embedding import sweep
from dact_jax.embedding.sweep import Progress
from dact_jax.prediction import (
    calibration,
    pool as pools,
    sorting,
    summary,
    tables,
    validation,
    writers,
)
from dact_jax.prediction.calibration import Calibration
from dact_jax.prediction.pool import Pool
from dact_jax.prediction.summary import Counted
from dact_jax.prediction.sweeping import NOT_KEPT, Caches
from dact_jax.prediction.tables import Outputs, Rules
from dact_jax.reports import counting, waiting
from dact_jax.rounds.workdir import EMBEDDINGS
from dact_jax.run_types import NEVER, Stop
from dact_jax.types import UNLABELED

ABOUT = ".about.json"  # at the end of the name of the file beside the table

Say = Callable[[str], object]  # prints a line


class Job(NamedTuple):
    """Which images get labels, by which network, and what is written."""

    workdir: pathlib.Path  # of the run, which may be waiting for labels or training
    images: str  # for `pool.read`
    output: pathlib.Path  # .csv, .jsonl or .parquet
    network: str = ""  # "last", "best_val"; "": the one that the run goes on with
    probabilities: bool = False  # whether those of all classes are written
    embeddings: pathlib.Path | None = None  # an .npz file to write too
    calibrate: bool = False  # whether to fit a temperature on validation labels
    abstain: float = 0.0  # a label needs at least this confidence
    sort_into: pathlib.Path | None = None  # a new folder to link images into, by class
    root: str = ""  # that paths in a manifest or list are relative to; "": the file's
    backbone: str = ""  # where its weights are now; "": where they were
    cache: pathlib.Path | None = None  # of its vectors; None: beside the output
    batch: int = 0  # images of one forward pass; 0: as the run
    max_pixels: int = decoding.MAX_PIXELS  # largest width times height of an image
    overwrite: bool = False  # whether to replace outputs that exist


def run(job: Job, *, say: Say, stop: Stop = NEVER) -> Counted:
    """Predicts the labels of images and writes the outputs.

    Args:
      say: is told what a user should know, line by line.
      stop: says when to end early.

    Raises:
      InputError: a file or value is wrong.
      StoppedError: `stop` asked for it; no output is written.
    """
    _check(job)
    devices.check()
    classifier = classifiers.load(
        job.workdir, backbone=job.backbone, network=job.network
    )
    if job.calibrate:
        validation.check(job.workdir)
    pool = _listed(job, classifier)
    say(f"Network: {classifier.origin}. {summary.norm(classifier)}")
    for note in pool.notes:
        say(note)
    caches = _caches(job, classifier)
    fitted = _calibration(job, classifier, caches, stop) if job.calibrate else None
    if fitted is not None:
        say(str(fitted))
    with _progress("predicting", "nothing is written", stop) as progress:
        counted = tables.write(
            classifier,
            pool,
            Outputs(job.output, job.probabilities, job.embeddings),
            Rules(fitted.temperature if fitted else 1.0, job.abstain),
            batch=job.batch,
            caches=caches,
            progress=progress,
        )
    about = summary.about(classifier, pool, counted, fitted)
    about |= {"workdir": str(job.workdir), "images": job.images}
    about["abstain_below"] = job.abstain or None
    storage.write_atomic(_about(job), f"{json.dumps(about, indent=1)}\n")
    say(_written(job, caches, about["predicted"], counted.seconds))
    names, trained = classifier.class_names, np.zeros(len(pool.id), bool)
    if about["known_labels"]:
        trained = summary.trained_on(pool, job.workdir, classifier)
    for line in summary.lines(
        pool, counted, names, abstain=job.abstain, trained=trained
    ):
        say(line)
    if job.sort_into is not None:
        say(_sort(job.sort_into, classifier, pool, counted))
    return counted


def _check(job: Job) -> None:
    """Checks what will be written.

    Raises:
      InputError: it cannot be, or something needed is not installed.
    """
    check = functools.partial(paths.check_output, overwrite=job.overwrite)
    check(job.output, "--output", writers.ENDINGS)
    writers.require(job.output.suffix.lower())
    check(_about(job), "--output", (".json",))
    if job.embeddings is not None:
        check(job.embeddings, "--embeddings", (".npz",))
    for path in filter(None, (job.output, job.embeddings)):
        if os.path.realpath(path) == os.path.realpath(job.images):
            raise errors.InputError(
                f"{errors.printable(path)} is what --images names: write to another "
                "file."
            )
    if job.cache is not None:
        paths.check_folder(job.cache, "--cache")
    if job.sort_into is not None:
        sorting.check(job.sort_into)


def _about(job: Job) -> pathlib.Path:
    return job.output.with_name(f"{job.output.name}{ABOUT}")


def _listed(job: Job, classifier: Classifier) -> Pool:
    """The images, which are not opened yet."""
    with waiting.during("listing the images"):
        pool = pools.read(
            job.images, classifier, root=job.root, max_pixels=job.max_pixels
        )
    if job.sort_into is not None and pool.files is None:
        raise errors.InputError("--sort_into links image files, and --images has none.")
    return pool


def _caches(job: Job, classifier: Classifier) -> Caches:
    """Vectors that the run or an earlier call computed, and where new ones go."""
    if classifier.backbone is None:
        return NOT_KEPT
    cache = job.cache or job.output.with_suffix(".cache")
    paths.check_folder(cache, "--cache")
    places = (job.workdir / EMBEDDINGS, cache)
    return Caches(cache, sweep.known_vectors(classifier.backbone, *places))


def _calibration(
    job: Job, classifier: Classifier, caches: Caches, stop: Stop
) -> Calibration:
    """The temperature that fits the validation labels of the run."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(waiting.during("reading the run's data"))
        shown: list[Progress] = []

        def progress(done: int, total: int) -> None:
            if not shown:
                stack.close()
                what = _progress("embedding the run's images", "", stop)
                shown.append(stack.enter_context(what))
            shown[0](done, total)

        found = validation.outputs(
            classifier,
            job.workdir,
            backbone=job.backbone,
            caches=caches,
            progress=progress,
        )
    return calibration.fit(found.logits, found.label)


@contextlib.contextmanager
def _progress(activity: str, state: str, stop: Stop) -> Iterator[Progress]:
    """Shows how far it is, and ends the work where someone asked for that."""
    with counting.progress(activity) as show, stop.saving():

        def progress(done: int, total: int) -> None:
            show(done, total)
            if stop.asked() and done < total:
                rest = f"; {state}" if state else ""
                raise errors.StoppedError(
                    f"stopped after {done} of {total} images{rest}."
                )

        yield progress


def _written(job: Job, caches: Caches, count: int, seconds: float) -> str:
    also = "" if job.embeddings is None else f", {job.embeddings}"
    kept = caches.written
    cached = f"; {kept} keeps new vectors" if kept is not None and kept.is_dir() else ""
    return (
        f"Predicted {count} images in {seconds:.1f} s. Written: {job.output}{also}"
        f"{cached}."
    )


def _sort(
    folder: pathlib.Path, classifier: Classifier, pool: Pool, counted: Counted
) -> str:
    """Links the images that could be read; a sentence about it."""
    files = pool.files
    assert files is not None
    rows = [k for k, guess in enumerate(counted.guess) if guess != UNLABELED]
    with counting.progress("sorting the images") as show:
        done = iter(range(1, len(rows) + 1))
        found = sorting.sort(
            folder,
            classifier.class_names,
            ((files[k], int(counted.label[k])) for k in rows),
            progress=lambda: show(next(done), len(rows)),
        )
    return summary.sorted_line(folder, found)
