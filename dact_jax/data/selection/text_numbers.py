"""Tables of numbers in text files, with the names and labels of their rows."""

import csv
import io
import pathlib
from typing import NamedTuple

import numpy as np

from dact_jax import cells, errors
from dact_jax.data import text_files

NAMES = ("path", "id", "filename", "file_name", "file", "image", "name")
LABELS = ("label", "class")
_DELIMITERS = ",;\t"
_SHOWN = 80  # characters of a cell that a message shows


class Table(NamedTuple):
    numbers: np.ndarray  # float64[N, F]
    is_labelled: np.ndarray  # bool[N], rows with a label
    path: np.ndarray | None  # str[N], names of the rows, if the file has them


def read(path: pathlib.Path) -> Table:
    """Reads a table: numbers between commas, semicolons, tabs or blanks.

    The first line may name the columns. Then a column of NAMES names the rows, a row
    with text in a column of LABELS is labelled, and other columns must be numbers.

    Raises:
      InputError: there is no such file, a line has another number of cells than the
        first, or a cell is not a number.
    """
    rows = _rows(path)
    header = None
    if rows and not all(map(_is_number, rows[0][1])):
        header = [cell.strip().lower() for cell in rows.pop(0)[1]]
    if not rows:
        raise errors.InputError(f"{path} holds no row of numbers.")
    width = len(header or rows[0][1])
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
    return Table(
        np.array([_numbers(path, line, row, columns) for line, row in rows]),
        np.array([label is not None and bool(row[label].strip()) for _, row in rows]),
        names,
    )


def _rows(path: pathlib.Path) -> list[tuple[int, list[str]]]:
    """(line, cells) of each row that is not empty."""
    text = text_files.read(path)
    first = next((line for line in text_files.lines(text) if line.strip()), "")
    delimiter = next((mark for mark in _DELIMITERS if mark in first), None)
    if delimiter is None:
        lines = enumerate(text_files.lines(text), 1)
        return [(line, row.split()) for line, row in lines if row.strip()]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise errors.InputError(
            f"{path}, line {reader.line_num}: {errors.clause(error)}."
        ) from None


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
    path: pathlib.Path, line: int, row: list[str], columns: list[int]
) -> list[float]:
    wrong = next((row[at] for at in columns if not _is_number(row[at])), None)
    if wrong is not None:
        raise errors.InputError(
            f"{path}, line {line}: {wrong[:_SHOWN]!r} is not a number; a column of "
            f"names is called {NAMES[0]}, and one of labels {LABELS[0]}, in the first "
            "line."
        )
    return [float(row[at]) for at in columns]
