"""A table of predictions, and a file of embeddings: made and written part by part."""

import contextlib
import pathlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dact_jax import storage
from dact_jax.classifier import Classifier
from dact_jax.embedding.sweep import Progress
from dact_jax.prediction import outcomes, sweeping, vector_file, writers
from dact_jax.prediction.outcomes import Outcome
from dact_jax.prediction.pool import Pool
from dact_jax.prediction.summary import Counted
from dact_jax.prediction.sweeping import NOT_KEPT, Caches, Part
from dact_jax.prediction.writers import Form, Line
from dact_jax.types import UNLABELED, LeftOut


class Outputs(NamedTuple):
    """The files that are written."""

    table: pathlib.Path
    probabilities: bool  # of all classes, in both files
    embeddings: pathlib.Path | None


class Rules(NamedTuple):
    """How outputs of the network become labels."""

    temperature: float = 1.0
    abstain: float = 0.0  # a label needs at least this confidence


def write(
    classifier: Classifier,
    pool: Pool,
    outputs: Outputs,
    rules: Rules,
    *,
    batch: int = 0,
    caches: Caches = NOT_KEPT,
    progress: Progress = lambda done, total: None,
) -> Counted:
    """Predicts all images of a pool and writes the outputs, whole or not at all.

    Args:
      batch, caches, progress: for `sweeping.parts`.

    Raises:
      InputError: the network's output is not finite.
    """
    started, count = time.perf_counter(), len(pool.id)
    label = np.full(count, UNLABELED, np.int32)
    guess = np.full(count, UNLABELED, np.int32)
    unreadable = [file for file in pool.left_out if file.damaged]
    names = classifier.class_names
    form = Form(names, outputs.probabilities, bool((pool.label != UNLABELED).any()))
    with contextlib.ExitStack() as stack:
        draft = stack.enter_context(storage.atomic(outputs.table))
        ending = outputs.table.suffix.lower()
        write_lines = stack.enter_context(writers.opened(draft, ending, form))
        write_vectors = None
        if outputs.embeddings is not None:
            write_vectors = stack.enter_context(
                vector_file.opened(
                    outputs.embeddings, names, probabilities=outputs.probabilities
                )
            )
        for part in sweeping.parts(
            classifier, pool.image, batch=batch, caches=caches, progress=progress
        ):
            found = outcomes.of_logits(part.logits, **rules._asdict())
            label[part.row], guess[part.row] = found.label, found.guess
            for row, fault in part.faults.items():
                unreadable.append(LeftOut(str(pool.id[row]), fault, damaged=True))
            write_lines(list(_lines(pool, part, found, names, rules)))
            if write_vectors is not None:
                write_vectors(pool.id[part.row].tolist(), part.embedding, found)
        write_lines(
            [Line(file.path, None, None, None, file.reason) for file in pool.left_out]
        )
    seconds = time.perf_counter() - started
    return Counted(label, guess, tuple(unreadable), seconds)


def _lines(
    pool: Pool, part: Part, found: Outcome, names: tuple[str, ...], rules: Rules
) -> Iterator[Line]:
    """The lines of a part, in the order of the images."""
    place = {int(row): k for k, row in enumerate(part.row)}
    for row in sorted([*place, *part.faults]):
        known = pool.label[row]
        truth = None if known == UNLABELED else names[known]
        if row in part.faults:
            yield Line(str(pool.id[row]), None, None, None, part.faults[row], truth)
            continue
        k = place[row]
        unsure = found.label[k] == UNLABELED
        yield Line(
            path=str(pool.id[row]),
            label=None if unsure else names[found.label[k]],
            confidence=found.confidence[k],
            margin=found.margin[k],
            reason=f"its confidence is below {rules.abstain:g}" if unsure else "",
            true_label=truth,
            probabilities=found.probabilities[k],
        )
