"""Files that a domain has under several names: each is taken once."""

import collections
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dact_jax import errors
from dact_jax.types import UNLABELED, LeftOut


class Found(NamedTuple):
    """The files of one domain, before they are read."""

    id: Sequence[str]  # N paths below the root
    label: Sequence[int]  # N class numbers, UNLABELED where there is no label
    split: Sequence[str] | None = None  # N of "train", "val", "test"; "": not said
    left_out: Sequence[LeftOut] = ()  # what else lies there


def repeated(
    root: pathlib.Path, found: Found, places: Mapping[int, tuple[int, int]]
) -> dict[int, LeftOut]:
    """Rows whose file has an earlier name, by hard or symbolic links.

    Of several names, one with a label is taken before one without, then the file itself
    before a link to it, then the first. Two labels or two parts of the split contradict
    each other: the other names count as damaged.

    Args:
      root: folder that ids are relative to.
      places: row -> device and inode of its file.
    """
    groups = collections.defaultdict(list)
    for row, place in places.items():
        groups[place].append(row)
    out = {}
    for rows in groups.values():
        if len(rows) == 1:
            continue
        first = min(rows, key=lambda row: _rank(root, found, row))
        for row in rows:
            if row != first:
                out[row] = _left_out(found, row, first)
    return out


def _rank(root: pathlib.Path, found: Found, row: int) -> tuple[bool, bool, int]:
    real = os.path.join(os.path.realpath(root), os.path.normpath(found.id[row]))
    linked = os.path.realpath(root / found.id[row]) != real
    return found.label[row] == UNLABELED, linked, row


def _left_out(found: Found, row: int, first: int) -> LeftOut:
    same = f"it is the same file as {errors.printable(found.id[first])}"
    if found.label[row] not in (found.label[first], UNLABELED):
        return LeftOut(found.id[row], f"{same}, which has another label", damaged=True)
    if found.split is not None and found.split[row] != found.split[first]:
        reason = f"{same}, which is in another part of the split"
        return LeftOut(found.id[row], reason, damaged=True)
    return LeftOut(found.id[row], same)
