"""What a file of vectors holds, whatever its form."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from dact_jax import errors

FEATURES, LABEL, PATH, CLASSES = "features", "label", "path", "classes"
OTHER_NAMES = {  # that others give these
    LABEL: ("labels", "y", "target", "targets"),
    PATH: ("paths", "id", "ids", "filename", "filenames", "file", "files"),
}


class Contents(NamedTuple):
    """The arrays of a file, not yet checked against one another."""

    # Of FEATURES, LABEL, PATH and CLASSES those that the file has.
    arrays: Mapping[str, np.ndarray]
    where: Mapping[str, str]  # array -> what a message calls it
    # What gives integers in `label` their names, a clause.
    naming: str
    unread: tuple[str, ...] = ()  # names of what else is there


class Vectors(NamedTuple):
    """Vectors to be written."""

    features: np.ndarray  # float32[N, F]
    path: np.ndarray  # str[N]
    label: np.ndarray  # int32[N] into class_names; UNLABELED where there is none
    class_names: tuple[str, ...]


def check_names(
    path: object,
    kind: str,
    there: Collection[str],
    found: Collection[str],
    others: Mapping[str, Collection[str]],
) -> None:
    """Raises InputError where a name is nearly one that the file lacks.

    Args:
      path: of the file, for messages.
      kind: "array" or "column".
      there: names that the file has.
      found: those of them that are read.
      others: name -> what others call it.
    """
    for name, alike in others.items():
        wrong = [other for other in there if other.lower() in alike]
        if wrong and name not in found:
            raise errors.InputError(
                f"{path}: the {kind} {wrong[0]} is not read; call it {name}, or leave "
                "it out."
            )
