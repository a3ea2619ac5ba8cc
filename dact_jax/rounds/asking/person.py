"""The oracle that asks a person, and ends the process until the answers are there."""

import pathlib
from typing import Any

import numpy as np

from dact_jax import errors
from dact_jax.processes import group
from dact_jax.queries.query import Item, Query
from dact_jax.rounds import oracle
from dact_jax.rounds.asking import given, question
from dact_jax.run_types import Run
from dact_jax.types import UNLABELED


def in_all_processes(ask: oracle.Oracle) -> oracle.Oracle:
    """The oracle, asked by process 0, which has the run's folder, for all processes.

    Raises:
      AwaitingLabels: in every process, where `ask` raises it.
    """

    def ask_first(asked: oracle.Asked) -> np.ndarray:
        def answer() -> list[Any]:
            try:
                return [ask(asked), None, ()]
            except errors.AwaitingLabels as awaiting:
                return [None, awaiting.query, awaiting.missing]

        label, wanted, missing = group.from_first(answer)
        if label is None:
            campaign, number, classes, items = wanted
            found = tuple(Item(*item) for item in items)
            query = Query(campaign, number, tuple(classes), found)
            raise errors.AwaitingLabels(query, missing)
        return np.asarray(label)

    return ask_first


def from_person(
    run: Run, folder: pathlib.Path, *, accept_partial: bool = False
) -> oracle.Oracle:
    """Labels from labels.csv of the run's folder; what is missing is asked for there.

    Nothing about a query is in a checkpoint: a turn that found no answers is computed
    again when the run goes on, with the same picks.

    Args:
      run: with a `person`, who has given the labels that its pool holds already.
      accept_partial: whether the query that is open now counts as answered though
        labels are missing; those images go back to the pool. It is for that query
        alone: the next one waits for its answers, and so does one that has none yet,
        which a killed process may have written without a word.
    """
    person = run.person
    assert person is not None
    known = np.asarray(run.task.target.train.label)
    may_lack = [accept_partial]

    def ask(asked: oracle.Asked) -> np.ndarray:
        answers = given.read(run, folder)
        own = asked.row[known[asked.row] == UNLABELED]
        found = np.where(answers == UNLABELED, known, answers)
        missing = own[found[own] == UNLABELED]
        label = given.correct(asked.label, answers)
        label[asked.row] = found[asked.row]
        if missing.size:
            wanted = question.make(run, person, asked, own)
            asked_before = question.is_written(folder, wanted)
            answered = missing.size < own.size
            if not (may_lack[0] and asked_before and answered):
                question.write(folder, wanted, image_root=person.image_root)
                ids = tuple(map(str, run.task.target.id[missing]))
                raise errors.AwaitingLabels(wanted, ids)
            if not (label >= 0).any():
                raise errors.InputError(
                    f"{question.place(folder, wanted)} has no label yet, and no other "
                    "image has one: give one label at least."
                )
            may_lack[0] = False
        return label

    return ask
