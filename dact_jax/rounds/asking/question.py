"""The query of a turn: made of its picks, checked against its files, and written."""

import hashlib
import os
import pathlib

import numpy as np

from dact_jax import errors
from dact_jax.queries import query, writing
from dact_jax.queries.query import Item, Query
from dact_jax.rounds.oracle import Asked
from dact_jax.run_types import Person, Run

_ANEW = (
    "or start again in another --workdir, where a copy of labels.csv keeps the other "
    "answers"
)


def make(run: Run, person: Person, asked: Asked, row: np.ndarray) -> Query:
    """The query for some of the asked rows.

    Args:
      row: int32[n], those that a person is to label, in the order of `asked.row`.

    Raises:
      InputError: the file of an image is gone.
    """
    scores = dict(zip(asked.row.tolist(), asked.score.tolist(), strict=True))
    ranked = bool(asked.score.any())  # a random pick has the score 0
    # Without pre-training, the classifier that round 0 begins with is untrained.
    suggests = asked.logits is not None and (asked.round or run.pretraining is not None)
    names, items = run.task.class_names, []
    for number in row.tolist():
        suggested, confidence = "", None
        if suggests:
            assert asked.logits is not None
            probability = _softmax(asked.logits[number])
            best = int(probability.argmax())
            suggested, confidence = names[best], round(float(probability[best]), 4)
        items.append(
            Item(
                id=str(run.task.target.id[number]),
                file_name=person.file_names[number],
                path=person.files[number],
                suggested=suggested,
                confidence=confidence,
                # Infinite is that of a first pick, which is far from nothing yet.
                score=scores[number]
                if ranked and np.isfinite(scores[number])
                else None,
                digest=_digest(person.files[number]),
            )
        )
    return Query(person.campaign, asked.round, names, tuple(items))


def place(folder: pathlib.Path, wanted: Query) -> pathlib.Path:
    """Where the query of a round is, or would be written."""
    return query.place(folder, wanted.round)


def is_written(folder: pathlib.Path, wanted: Query) -> bool:
    """Whether the run's folder has this query: one that asks for the same images."""
    there = place(folder, wanted)
    if not (there / query.FILE).is_file():
        return False
    return _ids(query.read(there)) == _ids(wanted)


def write(folder: pathlib.Path, wanted: Query, *, image_root: str) -> None:
    """Writes a query, unless it is there: someone may be filling in its files.

    Another query of the same round is moved aside with all that its folder holds.
    """
    if is_written(folder, wanted):
        return
    there = place(folder, wanted)
    if there.exists():
        count = 1
        while (aside := there.with_name(f"{there.name}_before_{count}")).exists():
            count += 1
        os.rename(there, aside)
    writing.write(there, wanted, image_root=image_root)


def check_files(folder: pathlib.Path) -> None:
    """Checks that the images of the newest query are those that were asked for.

    Raises:
      InputError: one of them is gone or has changed: a label given for what was
        shown must not be taken for another image.
    """
    for there in query.written(folder)[-1:]:
        for item in query.read(there).items:
            if item.digest and _digest(item.path) != item.digest:
                raise errors.InputError(
                    f"{item.path} has changed since {there} asked for its label: "
                    f"restore the file, {_ANEW}."
                )


def _ids(asked: Query) -> set[str]:
    return {item.id for item in asked.items}


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(shifted / shifted.sum())


def _digest(path: str) -> str:
    """SHA-256 of a file; "" without a file."""
    if not path:
        return ""
    if not os.path.isfile(path):
        raise errors.InputError(
            f"{path} is gone, but its label is asked for: restore the file, {_ANEW}."
        )
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
