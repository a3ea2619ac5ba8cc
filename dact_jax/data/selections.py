"""Files of a selection: the pool that it picks from, lists of rows, and its picks."""

import csv
import io
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dact_jax import errors, storage
from dact_jax.data import embeddings
from dact_jax.types import UNLABELED, Picked

_ENDINGS = (".csv", ".npy")  # of the file of picks
_BLOCK = 4096  # rows checked at once


class Pool(NamedTuple):
    features: np.ndarray  # [N, F] real numbers; those of a .npy file stay on the disk
    labelled: np.ndarray  # bool[N], what the file itself calls labelled
    path: np.ndarray | None  # str[N], names of the rows, where the file has them


def read_pool(path: pathlib.Path) -> Pool:
    """The rows to pick from.

    Args:
      path: a .npy file [N, F] of real numbers, which is mapped and never read whole; or
        an .npz file as in `embeddings`, its vectors as they are. There rows with a
        label count as labelled.

    Raises:
      InputError: no such file, or not of that form.
    """
    if path.suffix == ".npz":
        data = embeddings.load(path, name="pool", scale="raw")
        named = "path" in embeddings.array_names(path)
        labelled = data.label != UNLABELED
        return Pool(data.image[:, 0, 0], labelled, data.id if named else None)
    features = _matrix(path, "--features", "[N, F]")
    return Pool(features, np.zeros(len(features), bool), None)


def read_logits(path: pathlib.Path, num: int) -> np.ndarray:
    """[num, K] real and finite numbers of a .npy file.

    Raises:
      InputError: no such file, or not of that form.
    """
    logits = _matrix(path, "--logits", "[N, K]")
    if len(logits) != num:
        raise errors.InputError(
            f"--logits={path} must have a row for each of the {num} rows of the pool, "
            f"in the same order; it has {len(logits)}."
        )
    check_finite(logits, f"--logits={path}")
    return logits


def read_labelled(path: pathlib.Path, num: int) -> np.ndarray:
    """bool[num], the rows of a list.

    Args:
      path: a .npy file of integers or bool[num]; or text with a row number a line, or
        with a column "row" below a header, as a selection before wrote it.
      num: rows of the pool.

    Raises:
      InputError: no such file, or something in it is no row number of the pool.
    """
    if path.suffix == ".npy":
        rows = np.asarray(_mapped(path, "--labelled"))
        if rows.dtype == bool and rows.shape == (num,):
            return rows
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise errors.InputError(
                f"--labelled={path} must be row numbers (integers) or a mask "
                f"bool[{num}], not {_form(rows)}."
            )
        where = [str(path)] * len(rows)
    else:
        lines = _listed(path)
        where = [f"{path}, line {line}" for line, _ in lines]
        rows = np.array([row for _, row in lines], object)
    wrong = np.flatnonzero((rows < 0) | (rows >= num))
    if len(wrong):
        raise errors.InputError(
            f"{where[wrong[0]]}: {rows[wrong[0]]} is no row of the pool, whose rows "
            f"are 0 .. {num - 1}."
        )
    mask = np.zeros(num, bool)
    mask[rows.astype(np.int64)] = True
    return mask


def check_output(
    output: pathlib.Path, inputs: Sequence[pathlib.Path], *, overwrite: bool
) -> None:
    """Refuses a file that could not be written, or that would be lost.

    Args:
      output: the file to write.
      inputs: files that are read.
      overwrite: whether there may be one already.

    Raises:
      InputError: says what would be right.
    """
    if output.suffix not in _ENDINGS:
        raise errors.InputError(
            f"--output={output} must end in {' or '.join(_ENDINGS)}."
        )
    if not output.parent.is_dir():
        raise errors.InputError(
            f"--output={output}: there is no folder {output.parent}; make it first."
        )
    if not os.access(output.parent, os.W_OK):
        raise errors.InputError(
            f"--output={output}: nothing may be written into {output.parent}."
        )
    if output.is_dir():
        raise errors.InputError(f"--output={output} is a folder: name a file.")
    if output.resolve() in [path.resolve() for path in inputs]:
        raise errors.InputError(f"--output={output} is read too: name another file.")
    if output.exists() and not overwrite:
        raise errors.InputError(
            f"--output={output} exists: name another file, or add --overwrite."
        )


def write(path: pathlib.Path, picked: Picked, names: np.ndarray | None) -> None:
    """Writes picks, whole or not at all.

    Args:
      path: a name in .csv: a table of order (from 0), row, score and, where rows have
        names, path; in .npy: int32[budget], the rows in pick order.
      picked: what to write.
      names: str[N] of the pool's rows, or None.
    """
    if path.suffix == ".npy":
        content = io.BytesIO()
        np.save(content, picked.row)
        storage.write_atomic(path, content.getvalue())
    else:
        storage.write_atomic(path, _table(picked, names))


def check_finite(values: np.ndarray, where: str) -> None:
    """Refuses NaN and what float32 cannot hold.

    Args:
      values: [N, columns] real numbers, looked at in blocks of rows.
      where: what the user calls them.

    Raises:
      InputError: names the first such row.
    """
    for start in range(0, len(values), _BLOCK):
        with np.errstate(over="ignore"):
            block = np.asarray(values[start : start + _BLOCK]).astype(np.float32)
        wrong = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(wrong):
            raise errors.InputError(
                f"{where} must be finite numbers of float32: row {start + wrong[0]} "
                "is not."
            )


def _table(picked: Picked, names: np.ndarray | None) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["order", "row", "score", *([] if names is None else ["path"])])
    for order, (row, score) in enumerate(zip(picked.row, picked.score, strict=True)):
        table.writerow([order, row, score, *([] if names is None else [names[row]])])
    return text.getvalue()


def _matrix(path: pathlib.Path, flag: str, shape: str) -> np.ndarray:
    values = _mapped(path, flag)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
        raise errors.InputError(
            f"{flag}={path} must be {shape} real numbers, not {_form(values)}."
        )
    return values


def _mapped(path: pathlib.Path, flag: str) -> np.ndarray:
    """An array that stays on the disk; nothing is unpickled."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise errors.InputError(f"there is no file {path} ({flag}).") from None
    except ValueError as error:
        raise errors.InputError(
            f"{flag}={path} is no whole .npy file of numbers, as numpy.save writes it "
            f"from an array that holds no objects ({str(error).rstrip('.')})."
        ) from None


def _listed(path: pathlib.Path) -> list[tuple[int, int]]:
    """(line, row number) of a text, or of the column "row" of a CSV file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            records = [(reader.line_num, record) for record in reader if any(record)]
    except FileNotFoundError:
        raise errors.InputError(f"there is no file {path} (--labelled).") from None
    except (UnicodeDecodeError, csv.Error):
        raise errors.InputError(
            f"--labelled={path} is no text with a row number a line."
        ) from None
    column = None
    if records and "row" in records[0][1]:
        column = records.pop(0)[1].index("row")
    return [(line, _number(path, line, record, column)) for line, record in records]


def _number(
    path: pathlib.Path, line: int, record: list[str], column: int | None
) -> int:
    fields = record if column is None else record[column : column + 1]
    try:
        (text,) = fields
        return int(text)
    except ValueError:
        raise errors.InputError(
            f"{path}, line {line}: {','.join(fields)!r} is not one row number; a list "
            'has one a line, or a header with a column "row".'
        ) from None


def _form(array: np.ndarray) -> str:
    return f"{array.dtype}{list(array.shape)}"
