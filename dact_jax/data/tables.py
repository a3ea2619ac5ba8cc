"""Tables in text files: cells between commas, semicolons or tabs, with line numbers."""

import csv
import io
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from dact_jax import errors
from dact_jax.data import text_files

_DELIMITERS = ",;\t"
_SHOWN = 80  # characters of a wrong first line that an error shows


class Row(NamedTuple):
    line: int  # where it begins, from 1
    cells: tuple[str, ...]  # as many as there are columns


class Table(NamedTuple):
    columns: tuple[str, ...]
    rows: list[Row]


def read(
    path: pathlib.Path, is_header: Callable[[Sequence[str]], bool], *, header: str
) -> Table:
    """Reads a table whose first line names its columns.

    The delimiter is the one with which the first line is a header. Empty lines are
    left out, and empty cells beyond the last column.

    Args:
      is_header: whether the cells of the first line name the columns needed.
      header: what the first line must be, for an error message.

    Raises:
      InputError: no delimiter makes the first line a header; a row has more or fewer
        cells than columns; or a quote is not closed. The message names the line.
    """
    text = text_files.read(path)
    table = find(path, text, is_header)
    if table is not None:
        return table
    first_line = next((line for line in text_files.lines(text) if line.strip()), "")
    raise errors.InputError(
        f"{path}: the first line must be {header}, with commas, semicolons or tabs "
        f"between the names, not {first_line[:_SHOWN]!r}."
    )


def find(
    path: pathlib.Path, text: str, is_header: Callable[[Sequence[str]], bool]
) -> Table | None:
    """The table that a text is, as `read`; None if its first line is no header."""
    for delimiter in _DELIMITERS:
        found = rows(path, text, delimiter)
        try:
            first = next(found, None)
        except errors.InputError:
            continue
        if first is not None and is_header(first.cells):
            columns = first.cells
            return Table(columns, [_fit(path, row, len(columns)) for row in found])
    return None


def rows(path: pathlib.Path, text: str, delimiter: str) -> Iterator[Row]:
    """The rows of a text that are not empty.

    Args:
      path: the file, for messages.

    Raises:
      InputError: a quote is not closed, or a cell is too long; it names the line.
    """
    lines = io.StringIO(text, newline="")  # keeps the line ends within quotes
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        begin = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise errors.InputError(_fault(path, begin, reader, error)) from None
        if any(cell.strip() for cell in cells):
            yield Row(begin, tuple(cells))


def _fault(path: pathlib.Path, begin: int, reader: Any, error: csv.Error) -> str:
    """What is wrong with the row that begins in line `begin`."""
    where = f"{path}, line {begin}"
    if reader.line_num > begin or "unexpected end" in str(error):
        return f'{where}: a quote (") is opened and not closed: close or remove it.'
    if "field larger" in str(error):
        return f"{where}: a cell has more than {csv.field_size_limit()} characters."
    return (
        f"{where}: something follows a closing quote: write a quote within a cell "
        'twice ("").'
    )


def _fit(path: pathlib.Path, row: Row, width: int) -> Row:
    """The row without empty cells beyond the columns."""
    cells, extra = row.cells[:width], row.cells[width:]
    if len(cells) < width or any(cell.strip() for cell in extra):
        quote = "; quote a cell that contains the delimiter" if extra else ""
        raise errors.InputError(
            f"{path}, line {row.line}: there must be {width} cells, not "
            f"{len(row.cells)}{quote}."
        )
    return row._replace(cells=cells)
