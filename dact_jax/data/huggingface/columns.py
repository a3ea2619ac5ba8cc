"""Which columns of a data set are images and labels, and which rows are asked for."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dact_jax import errors
from dact_jax.data.huggingface.spec import Spec
from dact_jax.types import UNLABELED

_BLOCK = 10_000  # rows whose labels are read at once
_LISTED = 12  # names that a message spells out


class Columns(NamedTuple):
    image: str
    label: str | None  # None: there are no labels
    class_names: tuple[str, ...] | None  # None: labels are text, or bare integers


class Rows(NamedTuple):
    """Rows of a split that are asked for."""

    number: np.ndarray  # int64[n]
    label: list[Any]  # n texts or integers; None where there is none


def find(spec: Spec, features: Mapping[str, Any]) -> Columns:
    """The columns, by their types, where the text does not name them.

    Args:
      features: name of a column -> its type in `datasets`.

    Raises:
      InputError: a column that is named is not there, or none or several may be meant.
    """
    for name in (spec.image, spec.label, *spec.where):
        if name and name not in features:
            raise errors.InputError(
                f"{spec.text!r}: there is no column {name!r}; "
                f"{errors.suggestion(name, list(features))}"
            )
    image = spec.image or _only(spec, features, "Image", "image")
    if image is None:
        raise errors.InputError(
            f"{spec.text!r} has no column of images; its columns are "
            f"{', '.join(map(repr, list(features)[:_LISTED]))}: name one, as ,image=..."
        )
    label = spec.label or _only(spec, features, "ClassLabel", "label")
    if label is None and "label" in features:
        label = "label"
    names = getattr(features[label], "names", None) if label else None
    return Columns(image, label, tuple(names) if names else None)


def _only(spec: Spec, features: Mapping[str, Any], kind: str, key: str) -> str | None:
    """The one column of a type that chooses no rows, or the one of the usual name."""
    found = [
        name
        for name, feature in features.items()
        if type(feature).__name__ == kind and name not in spec.where
    ]
    if len(found) > 1 and key not in found:
        raise errors.InputError(
            f"{spec.text!r}: the columns {', '.join(map(repr, found[:_LISTED]))} may "
            f"each be the {key}: name one, as ,{key}={found[0]}."
        )
    return key if key in found else found[0] if found else None


def rows(spec: Spec, part: Any, columns: Columns) -> Rows:
    """The rows of a split that have the values which the text asks for.

    Raises:
      InputError: a label is neither text nor an integer.
    """
    wanted = [*dict.fromkeys([*filter(None, [columns.label]), *spec.where])]
    if not wanted:
        return Rows(np.arange(len(part)), [None] * len(part))
    light = part.select_columns(wanted).with_format("arrow")
    number: list[int] = []
    label: list[Any] = []
    for start in range(0, len(part), _BLOCK):
        table = light[start : start + _BLOCK]
        values = {name: table.column(name).to_pylist() for name in wanted}
        keep = np.ones(len(table), bool)
        for name, value in spec.where.items():
            texts = _texts(part.features[name], values[name])
            keep &= np.array([text == value for text in texts], bool)
        number += (start + np.flatnonzero(keep)).tolist()
        if columns.label:
            label += [values[columns.label][i] for i in np.flatnonzero(keep)]
    if not columns.label:
        label = [None] * len(number)
    for value in label:
        if not (value is None or type(value) in (int, str)):
            raise errors.InputError(
                f"{spec.text!r}: the column {columns.label!r} must hold text or "
                f"integers, not {type(value).__name__}: name another, as ,label=..."
            )
    return Rows(np.array(number, np.int64), label)


def values(spec: Spec, parts: Sequence[Any], name: str) -> str:
    """The values that a column has, for a message."""
    found: dict[str, None] = {}
    for part in parts:
        table = part.select_columns([name]).with_format("arrow")[: 10 * _BLOCK]
        found |= dict.fromkeys(
            _texts(part.features[name], table.column(name).to_pylist())
        )
    listed = ", ".join(repr(text) for text in list(found)[:_LISTED])
    return f"{listed}, ..." if len(found) > _LISTED else listed


def numbered(
    label: Sequence[Any], columns: Columns
) -> tuple[list[int], tuple[str, ...], bool]:
    """Labels as numbers of classes; the classes' names; whether these are numbers.

    Args:
      label: texts or integers; None, "" or -1 where there is none.
    """
    known = [k for k in label if not (k is None or k == "" or k == UNLABELED)]
    texts = any(isinstance(k, str) for k in known)
    if texts:
        names = tuple(sorted({str(k) for k in known}))
        number = {name: k for k, name in enumerate(names)}
        return [number.get(str(k), UNLABELED) for k in label], names, False
    count = max(known, default=-1) + 1
    bare = columns.class_names is None
    names = columns.class_names or tuple(map(str, range(count)))
    numbers = [UNLABELED if k is None or k == "" else int(k) for k in label]
    return numbers, names, bare and bool(count)


def _texts(feature: Any, column: Sequence[Any]) -> list[str]:
    """The values of a column as a user writes them: of classes, the names."""
    names = getattr(feature, "names", None)
    if not names:
        return [str(value) for value in column]
    return [
        names[value] if isinstance(value, int) and 0 <= value < len(names) else ""
        for value in column
    ]
