"""Files that list rows of a pool by number or by name, such as picks of another day."""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dact_jax import array_files, cells, errors, labelled_rows, storage
from dact_jax.data import entries as listed, tables, text_files
from dact_jax.data.selection.text_numbers import LABELS, NAMES

_ROW, _SIDE, _TARGET = "row", "side", "target"
_SHOWN = 80  # characters of a cell that a message shows
_NUMBERS = re.compile(r"\s*\d{1,18}\s*(,\s*\d{1,18}\s*)*")
_FORMS = (
    'write one row number per line, or a header with a column "row" or "path", or give '
    "numbers as 17,4"
)


class _Entry(NamedTuple):
    line: int
    row: str | None  # as it is written
    name: str | None
    label: str = ""  # as it is written; "" without a column of labels


def read(given: str, names: np.ndarray | None, num: int, pool: str) -> np.ndarray:
    """bool[num], the rows that are given.

    Args:
      given: row numbers such as "17,4"; or the path of a .npy file of row numbers,
        bool[num] or names; of text with one row number or name per line; or of a table
        with columns "row" or "path" (or "id"), such as the picks of an earlier
        selection or of a run, of which the target's count. Where the pool has names and
        the table too, names decide.
      names: str[num], of the pool's rows, or None.
      num: rows of the pool.
      pool: its file, for messages.

    Raises:
      InputError: there is no such file, or an entry is not a row of the pool.
    """
    flag = f"--labelled={given}"
    if _NUMBERS.fullmatch(given) and not os.path.exists(given):
        numbers = np.array([int(number) for number in given.split(",")])
        return labelled_rows.mask(numbers, num, flag)
    path = pathlib.Path(given)
    if path.suffix.lower() == ".npy":
        values = np.asarray(array_files.mapped(path, flag))
        if values.dtype.kind == "U" and values.ndim == 1 and values.size:
            entries = [_Entry(n, None, name) for n, name in enumerate(values.tolist())]
            return _mask(_rows(entries, path, names, num, pool), num, flag)
        return labelled_rows.mask(values, num, flag)
    entries = _entries(path, _text(path), names)
    return _mask(_rows(entries, path, names, num, pool), num, flag)


def read_labels(
    given: str, names: np.ndarray | None, num: int, pool: str
) -> np.ndarray:
    """str[num], the classes that a table gives its rows; "" where there is none.

    Args:
      given: as for `read`, which has accepted it.
    """
    label = np.full(num, "", object)
    path = pathlib.Path(given)
    if path.is_file() and path.suffix.lower() != ".npy":
        entries = _entries(path, _text(path), names)
        label[_rows(entries, path, names, num, pool)] = [e.label for e in entries]
    return label.astype(str)


def _mask(rows: list[int], num: int, flag: str) -> np.ndarray:
    return labelled_rows.mask(np.array(rows, np.int64), num, flag)


def _text(path: pathlib.Path) -> str:
    if not path.exists():
        raise errors.InputError(
            f"there is no file {path} (--labelled); row numbers are written as 17,4."
        )
    if not path.is_file():
        raise errors.InputError(f"--labelled={path} is not a file.")
    text = storage.read_text(path).removeprefix("\ufeff")
    if "\0" in text:
        raise errors.InputError(f"--labelled={path} is not text: {_FORMS}.")
    return text


def _entries(path: pathlib.Path, text: str, names: np.ndarray | None) -> list[_Entry]:
    table = tables.find(path, text, _is_header)
    if table is not None:
        return _of_table(path, table)
    numbered = enumerate(text_files.lines(text), 1)
    lines = [(line, content) for line, content in numbered if content.strip()]
    known = set() if names is None else {*names.tolist()}
    found = [content for _, content in lines if content in known]
    # Names may be numbers; then they count as names only if every line is one.
    if found and (len(found) == len(lines) or None in map(_number, found)):
        return [_Entry(line, None, content) for line, content in lines]
    return [_Entry(line, content.strip(), None) for line, content in lines]


def _is_header(columns: Sequence[str]) -> bool:
    return bool({_ROW, *NAMES} & {*map(_plain, columns)})


def _plain(column: str) -> str:
    return column.strip().lower()


def _of_table(path: pathlib.Path, table: tables.Table) -> list[_Entry]:
    """The entries of a table; rows of the source, and those without a label, not."""
    header = [*map(_plain, table.columns)]
    name = next((header.index(n) for n in NAMES if n in header), None)
    row = header.index(_ROW) if _ROW in header else None
    side = header.index(_SIDE) if _SIDE in header else None
    label = next((header.index(n) for n in LABELS if n in header), None)
    entries = []
    for line, written in table.rows:
        record = [*map(cells.restore, written)]
        if side is not None and record[side] != _TARGET:
            continue
        where = f"{path}, line {line}"
        if label is not None and not listed.is_labelled(where, record[label]):
            continue
        entries.append(
            _Entry(
                line,
                None if row is None else record[row].strip(),
                None if name is None else record[name],
                "" if label is None else record[label].strip(),
            )
        )
    return entries


def _rows(
    entries: list[_Entry],
    path: pathlib.Path,
    names: np.ndarray | None,
    num: int,
    pool: str,
) -> list[int]:
    index = {} if names is None else {n: row for row, n in enumerate(names.tolist())}
    return [_row(entry, path, index, names, num, pool) for entry in entries]


def _row(
    entry: _Entry,
    path: pathlib.Path,
    index: dict[str, int],
    names: np.ndarray | None,
    num: int,
    pool: str,
) -> int:
    """The pool's row of an entry: by its name, if both sides have names."""
    where = f"{path}, line {entry.line}"
    if entry.name is not None and names is not None:
        if entry.name in index:
            return index[entry.name]
        row = _number(entry.row)
        if row is not None and 0 <= row < num:
            raise errors.InputError(
                f"{where}: the path of row {row} is {entry.name[:_SHOWN]!r}, "
                f"but {str(names[row])!r} in {pool}, which has no row of the former "
                "name."
            )
        raise errors.InputError(
            f"{where}: {pool} has no row called {entry.name[:_SHOWN]!r}."
        )
    if entry.row is None:
        raise errors.InputError(
            f"{where}: rows are listed by name, but {pool} has no names (an array "
            "path): list them by number."
        )
    row = _number(entry.row)
    if row is None:
        also = "" if names is None else f", nor the name of a row of {pool}"
        raise errors.InputError(
            f"{where}: {entry.row[:_SHOWN]!r} is not one row number{also}; {_FORMS}."
        )
    if not 0 <= row < num:
        raise errors.InputError(
            f"{where}: {entry.row[:_SHOWN]} is not a row of the pool, whose rows are "
            f"0 .. {num - 1}."
        )
    return row


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:  # also of thousands of digits
        return None
