"""The classes of labelled rows as numbers, for methods that read labels."""

import pathlib
from collections.abc import Sequence

import numpy as np

from dact_jax import errors
from dact_jax.data import entries
from dact_jax.types import UNLABELED


def of_labelled(
    label: np.ndarray,
    labelled: np.ndarray,
    class_names: Sequence[str],
    *,
    method: str,
    features: pathlib.Path,
) -> np.ndarray:
    """int32[N], the class of each labelled row, UNLABELED elsewhere.

    Args:
      label: str[N], names of classes; "" where none is known. Labels of rows that do
        not count as labelled are left out.
      labelled: bool[N].
      class_names: in the order of their numbers; without any, labels that are numbers
        stay as they are, and others are numbered in their order.
      method: that reads them, for messages.
      features: the pool's file, for messages.

    Raises:
      InputError: a labelled row has no label, or one that is no class of the file.
    """
    known = labelled & (label != "")
    unknown = np.flatnonzero(labelled & ~known)
    if unknown.size:
        raise errors.InputError(
            f"--method={method} reads the labels of labelled rows, but row "
            f"{unknown[0]} has none: give them in {features}, or as a column label of "
            "a table for --labelled."
        )
    names = {*label[known].tolist()}
    order = list(class_names) or entries.sort_labels(names)
    number = {name: k for k, name in enumerate(order)}
    if not class_names and all(name.isdecimal() for name in names):
        number = {name: int(name) for name in names}
    for name in sorted(names - number.keys()):
        raise errors.InputError(
            f"there is no class {name!r} in {features}; "
            f"{errors.suggestion(name, order)}"
        )
    found = np.full(len(label), UNLABELED, np.int32)
    found[known] = [number[name] for name in label[known].tolist()]
    return found
