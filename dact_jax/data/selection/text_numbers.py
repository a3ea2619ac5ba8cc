"""Tables of numbers in text files, with the names and labels of their rows."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dact_jax import cells, errors
from dact_jax.data import entries as listed, tables, text_files

NAMES = (
    "path",
    "id",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "file",
    "image",
    "name",
)
LABELS = ("label", "class", "class_name", "category")
_NEARLY_LABELS = ("labels", "classes", "target", "targets")
_NAMELESS = ("", "unnamed: 0")  # how pandas calls the column of its row numbers
_DELIMITERS = ",;\t"
_SHOWN = 80  # characters of a cell that a message shows


class Table(NamedTuple):
    numbers: np.ndarray  # float64[N, F]
    is_labelled: np.ndarray  # bool[N], rows with a label
    path: np.ndarray | None  # str[N], names of the rows, if the file has them
    label: np.ndarray | None = None  # str[N], "" where there is none; None: no column


def read(path: pathlib.Path) -> Table:
    """Reads a table: numbers between commas, semicolons, tabs or blanks.

    The first line may name the columns. Then a column of NAMES names the rows, a row
    with a label in a column of LABELS is labelled, and other columns must be numbers.

    Raises:
      InputError: there is no such file, a line has another number of cells than the
        first, a cell is not a number, or a line or column seems to be no feature.
    """
    rows = _rows(path)
    header = None
    if rows and not all(map(_is_number, rows[0].cells)):
        header = _header(path, rows.pop(0))
    elif rows:
        _check_first(path, rows[0])
    if not rows:
        raise errors.InputError(f"{path} holds no row of numbers.")
    width = len(header or rows[0].cells)
    for line, row in rows:
        if len(row) != width:
            raise errors.InputError(
                f"{path}, line {line}: there must be {width} cells, as in the first "
                f"line, not {len(row)}."
            )
    name, label = _first(header, NAMES), _first(header, LABELS)
    columns = [at for at in range(width) if at not in (name, label)]
    names = None
    if name is not None:
        names = np.array([cells.restore(row[name]) for _, row in rows])
        _check_unique(path, names)
    numbers = np.array([_numbers(path, line, row, columns) for line, row in rows])
    if label is None:
        return Table(numbers, np.zeros(len(rows), bool), names)
    written = np.array([cells.restore(row[label]).strip() for _, row in rows])
    is_labelled = np.array(
        [listed.is_labelled(f"{path}, line {line}", row[label]) for line, row in rows]
    )
    return Table(numbers, is_labelled, names, np.where(is_labelled, written, ""))


def _rows(path: pathlib.Path) -> list[tables.Row]:
    """The rows that are not empty."""
    text = text_files.read(path)
    first = next((line for line in text_files.lines(text) if line.strip()), "")
    delimiter = next((mark for mark in _DELIMITERS if mark in first), None)
    if delimiter is None:
        lines = enumerate(text_files.lines(text), 1)
        return [
            tables.Row(line, tuple(row.split())) for line, row in lines if row.strip()
        ]
    return [*tables.rows(path, text, delimiter)]


def _check_first(path: pathlib.Path, row: tables.Row) -> None:
    """Raises InputError if the first row seems to hold the numbers of the columns."""
    count = len(row.cells)
    if count > 1 and [*row.cells] == [*map(str, range(count))]:
        raise errors.InputError(
            f"{path}, line {row.line}: 0, 1, ... seem to be numbers of columns, not a "
            "row of the pool: leave that line out (in pandas, by header=False), or "
            "write a line with names of the columns before it."
        )


def _header(path: pathlib.Path, row: tables.Row) -> list[str]:
    """The names of the columns in lower case.

    Raises:
      InputError: a column seems to hold numbers of rows, or labels, but no feature.
    """
    names = [cell.strip().lower() for cell in row.cells]
    for at, name in enumerate(names, 1):
        if name in _NAMELESS:
            raise errors.InputError(
                f"{path}, line {row.line}: column {at} has no name, as "
                "one of row numbers that pandas writes: leave it out (by index=False), "
                "or call it path if it names the rows."
            )
        if name in _NEARLY_LABELS:
            raise errors.InputError(
                f"{path}, line {row.line}: the column {name!r} is no feature: call it "
                f"{LABELS[0]}, or leave it out."
            )
    return names


def _first(header: list[str] | None, names: tuple[str, ...]) -> int | None:
    return next((header.index(n) for n in names if header and n in header), None)


def _check_unique(path: pathlib.Path, names: np.ndarray) -> None:
    unique, times = np.unique(names, return_counts=True)
    if len(unique) < len(names):
        repeated = str(unique[times > 1][0])[:_SHOWN]
        raise errors.InputError(
            f"{path}: names of rows must be unique, but {repeated!r} occurs more than "
            "once."
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(
    path: pathlib.Path, line: int, row: Sequence[str], columns: list[int]
) -> list[float]:
    wrong = next((row[at] for at in columns if not _is_number(row[at])), None)
    if wrong is not None:
        raise errors.InputError(
            f"{path}, line {line}: {wrong[:_SHOWN]!r} is not a number; a column of "
            f"names is called {NAMES[0]}, and one of labels {LABELS[0]}, in the first "
            "line."
        )
    return [float(row[at]) for at in columns]
