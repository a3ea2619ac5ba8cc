"""What a run's folder records, gathered once for everything that reports on it."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from dact_jax import errors
from dact_jax.data import left_out
from dact_jax.queries import query
from dact_jax.queries.query import Query
from dact_jax.reports import confusion
from dact_jax.reports.confusion import Confusion
from dact_jax.reports.curves import Reference
from dact_jax.reports.sections import published
from dact_jax.rounds import answers, workdir
from dact_jax.rounds.answers import Answer
from dact_jax.rounds.workdir import Pick
from dact_jax.types import Row


class Record(NamedTuple):
    """The files of a run, read; and what its config says of the report."""

    folder: pathlib.Path
    title: str  # one line
    rows: Sequence[Row]  # of metrics.jsonl
    rounds: Sequence[Row]  # those of finished rounds; one at least
    picks: Sequence[Pick]
    answers: Sequence[Answer]  # all that a person gave
    queries: Sequence[Query]  # all that a person was asked, in order of rounds
    confusion: Confusion | None
    left_out: Sequence[left_out.Row]
    published: Reference  # accuracies in [0, 1]
    command: str  # shell command that resumes or repeats the run; "": unknown
    keep: str  # network that training continues from: "last" or "best_val"
    labels: Sequence[str]  # sentences that say where the labels of the target went
    precision: str  # that the network was trained in; "": unknown


def gather(
    folder: pathlib.Path,
    title: str,
    *,
    reference: Reference | None = None,
    command: str | None = None,
    keep: str = "last",
    labels: Sequence[str] = (),
    precision: str = "",
) -> Record:
    """Reads the files of a run.

    Rows with event "round" must have round, labels_target, labels_val, source_samples,
    seconds, test_accuracy and val_accuracy (in [0, 1]; None if no image has a label).
    They may have test_images, source_pool, labels_per_class (class -> target labels
    bought so far) and the other columns of `rounds.evaluation`. Rows "pretrain" and
    "select" are optional.

    Args:
      title: one line.
      reference: published accuracies, shown beside those of the run.
      command: shell command that resumes or repeats the run.
      keep: network of a round that training continues from, "last" or "best_val".
      labels: sentences that say where the labels of the target went.
      precision: that the network was trained in, such as "float32".

    Raises:
      InputError: no round is finished, a file is damaged or has lost rows, or an
        accuracy in `reference` is outside [0, 1].
    """
    workdir.check(folder)  # no report of half a record
    rows = workdir.read(folder)
    rounds = [row for row in rows if row["event"] == "round"]
    if not rounds:
        raise errors.InputError(
            f"{folder / workdir.METRICS} has no finished round yet: a report needs at "
            "least one."
        )
    published.check(reference or {})
    return Record(
        folder=folder,
        title=title,
        rows=rows,
        rounds=rounds,
        picks=workdir.read_picks(folder),
        answers=answers.read(folder),
        queries=[query.read(place) for place in query.written(folder)],
        confusion=confusion.read(folder),
        left_out=left_out.read(folder),
        published=reference or {},
        command=command or "",
        keep=keep,
        labels=labels,
        precision=precision,
    )
