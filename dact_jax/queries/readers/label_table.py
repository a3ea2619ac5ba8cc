"""Tables of answers: labels.csv of a query, however a spreadsheet saved it."""

import pathlib
from collections.abc import Mapping, Sequence

from dact_jax import cells, errors
from dact_jax.data import tables
from dact_jax.data.tables import Row, Table
from dact_jax.queries.readers import label_studio
from dact_jax.queries.readers.written import Written

HEADER = "file_name,label or id,label, perhaps with other columns"
# What a column may be called, in any case; the first name that occurs counts.
_COLUMNS = {
    "id": ("dact_id", "id"),
    "name": (
        *("file_name", "filename", "path", "filepath", "file_path", "file", "image"),
    ),
    "label": ("label", "class", "class_name", "category", "choice"),
    "skip": ("skip", "skipped"),
}
_YES = ("1", "1.0", "x", "yes", "y", "true", "skip")
_NO = ("", "0", "0.0", "no", "n", "false", "nan")


def read(path: pathlib.Path, text: str) -> list[Written]:
    """The rows that have a label or are skipped.

    Raises:
      InputError: the text is no such table, or a row has both; the message names the
        line.
    """
    table = tables.find(path, text, _is_header)
    if table is None:
        first = next((line for line in text.splitlines() if line.strip()), "")
        raise errors.InputError(
            f"{path}: the first line must be {HEADER}, with commas, semicolons or "
            f"tabs between the names, not {errors.quoted(first)}."
        )
    columns = _columns(path, table.columns)
    if label_studio.is_table(map(_plain, table.columns)):
        label = _plain(table.columns[columns["label"]])
        return label_studio.of_table(path, _records(table), label)
    rows = [_row(path, row, columns) for row in table.rows]
    return [written for written in rows if written.label or written.skip]


def _is_header(names: Sequence[str]) -> bool:
    found = {meaning for meaning in _COLUMNS if _find(names, meaning)}
    return "label" in found and bool(found & {"id", "name"})


def _columns(path: pathlib.Path, names: Sequence[str]) -> Mapping[str, int]:
    """Meaning -> position, for those that the table has."""
    found = {}
    for meaning in _COLUMNS:
        numbers = _find(names, meaning)
        if len(numbers) > 1:
            raise errors.InputError(
                f"{path}: there are {len(numbers)} columns "
                f"{errors.quoted(names[numbers[0]])}: keep one of them."
            )
        if numbers:
            found[meaning] = numbers[0]
    return found


def _find(names: Sequence[str], meaning: str) -> list[int]:
    plain = list(map(_plain, names))
    for known in _COLUMNS[meaning]:
        if known in plain:
            return [number for number, name in enumerate(plain) if name == known]
    return []


def _row(path: pathlib.Path, row: Row, columns: Mapping[str, int]) -> Written:
    where = f"{path}, line {row.line}"
    text = {
        meaning: cells.restore(row.cells[number]) for meaning, number in columns.items()
    }
    label, skip = text["label"], text.get("skip", "").strip().lower()
    label = label if label.strip() else ""
    if skip not in (*_YES, *_NO):
        raise errors.InputError(
            f"{where}: skip must be 1, x, yes or true, or empty, not "
            f"{errors.quoted(skip)}."
        )
    if label and skip in _YES:
        raise errors.InputError(
            f"{where}: the image has the label {errors.quoted(label)} and skip: leave "
            "one of the two cells empty."
        )
    id, name = text.get("id", "").strip(), text.get("name", "")
    return Written(where, id, name, label, skip in _YES)


def _plain(name: str) -> str:
    """The name of a column in one form."""
    return name.strip().lower().replace(" ", "_")


def _records(table: Table) -> list[tuple[int, Mapping[str, str]]]:
    names = list(map(_plain, table.columns))
    return [(row.line, dict(zip(names, row.cells, strict=True))) for row in table.rows]
