"""What came back from a person: answers in files become lines of labels.csv."""

import collections
import os
import pathlib
from collections.abc import Iterable, Sequence

from dact_jax import errors
from dact_jax.queries import importing, query
from dact_jax.queries.importing import Given
from dact_jax.queries.matching import Known
from dact_jax.rounds import answers
from dact_jax.run_types import Run


def take_in(run: Run, folder: pathlib.Path, extra: Sequence[pathlib.Path]) -> list[str]:
    """Adds the new answers in the files of the queries, and in others, to labels.csv.

    An answer is new if the file said something else, or nothing, when it was last read:
    a file that lies there still does not undo a correction that came from elsewhere.

    Args:
      extra: files besides those in the folders of the queries.

    Returns:
      Sentences on what was added.

    Raises:
      InputError: a file is wrong, or two of them contradict each other; nothing is
        added.
    """
    if run.person is None:
        if extra:
            raise errors.InputError(
                f"{extra[0]} holds answers, but the labels of this run come from the "
                "data: set oracle='human'."
            )
        return []
    target, person = run.task.target, run.person
    ids = target.id.tolist()
    recorded = {
        (answer.origin, answer.id): (answer.label, answer.skip)
        for answer in answers.read(folder)
    }
    given = importing.read(
        folder,
        [_place(folder, path) for path in extra],
        person.campaign,
        run.task.class_names,
        map(Known, ids, person.file_names, person.files),
        recorded=recorded,
    )
    if given:
        answers.append(folder, _lines(folder, given))
    counts = collections.Counter(one.origin for one in given)
    return [
        f"{count} new {'answer was' if count == 1 else 'answers were'} read from "
        f"{errors.printable(origin)}."
        for origin, count in counts.items()
    ]


def _lines(folder: pathlib.Path, given: Iterable[Given]) -> list[answers.Answer]:
    suggested = {
        item.id: item.suggested
        for place in query.written(folder)
        for item in query.read(place).items
    }
    when = answers.now()
    return [
        answers.Answer(
            id=one.id,
            label=one.label,
            skip=one.skip,
            when=when,
            origin=one.origin,
            suggested=suggested.get(one.id, ""),
        )
        for one in given
    ]


def _place(folder: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """The path as the run's folder gives it, if the file lies there: one origin."""
    if not path.is_file():
        raise errors.InputError(f"there is no file {path} with answers (--answers).")
    whole, root = os.path.abspath(path), os.path.abspath(folder)
    if os.path.commonpath([whole, root]) == root:
        return folder / os.path.relpath(whole, root)
    return pathlib.Path(whole)
