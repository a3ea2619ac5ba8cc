"""Files of a selection: the pool to pick from, lists of rows, and the picks."""

import csv
import io
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dact_jax import array_files, errors, storage
from dact_jax.data.readers import embeddings
from dact_jax.types import UNLABELED, Picked

_SUFFIXES = (".csv", ".npy")  # of the file of picks
_BLOCK_ROWS = 4096  # checked at once


class Pool(NamedTuple):
    features: np.ndarray  # [N, F] real numbers; those of a .npy file stay on disk
    labelled: np.ndarray  # bool[N], rows that have a label in the file
    path: np.ndarray | None  # str[N], names of the rows, if the file has them


def read_pool(path: pathlib.Path) -> Pool:
    """Reads the pool to pick from.

    Args:
      path: a .npy file [N, F] of real numbers, which is memory-mapped and never read as
        a whole; or an .npz file as in `embeddings`, whose vectors are not scaled and
        whose rows with a label count as labelled.

    Raises:
      InputError: the file does not exist or has another format.
    """
    if path.suffix == ".npz":
        data = embeddings.load(path, name="pool", scale="raw")
        has_names = "path" in array_files.names(path)
        labelled = data.label != UNLABELED
        return Pool(data.image[:, 0, 0], labelled, data.id if has_names else None)
    features = _matrix(path, "--features", "[N, F]")
    return Pool(features, np.zeros(len(features), bool), None)


def read_logits(path: pathlib.Path, num: int) -> np.ndarray:
    """[num, K] finite real numbers of a .npy file.

    Raises:
      InputError: the file does not exist or has another format.
    """
    logits = _matrix(path, "--logits", "[N, K]")
    if len(logits) != num:
        raise errors.InputError(
            f"--logits={path} must have one row for each of the {num} rows of the "
            f"pool, in the same order; it has {len(logits)}."
        )
    check_finite(logits, f"--logits={path}")
    return logits


def read_labelled(path: pathlib.Path, num: int) -> np.ndarray:
    """bool[num], the rows that a file lists.

    Args:
      path: a .npy file of integers or bool[num]; or text with one row number per line;
        or a CSV file with a header and a column "row", such as written by an earlier
        selection.
      num: rows of the pool.

    Raises:
      InputError: the file does not exist, or an entry is not a row of the pool.
    """
    if path.suffix == ".npy":
        rows = np.asarray(array_files.mapped(path, f"--labelled={path}"))
        if rows.dtype == bool and rows.shape == (num,):
            return rows
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise errors.InputError(
                f"--labelled={path} must be row numbers (integers) or a mask "
                f"bool[{num}], not {_describe(rows)}."
            )
        places = [str(path)] * len(rows)
    else:
        lines = _read_lines(path)
        places = [f"{path}, line {line}" for line, _ in lines]
        rows = np.array([row for _, row in lines], object)
    wrong = np.flatnonzero((rows < 0) | (rows >= num))
    if len(wrong):
        raise errors.InputError(
            f"{places[wrong[0]]}: {rows[wrong[0]]} is not a row of the pool, whose "
            f"rows are 0 .. {num - 1}."
        )
    mask = np.zeros(num, bool)
    mask[rows.astype(np.int64)] = True
    return mask


def check_budget(budget: int, labelled: np.ndarray, pool: pathlib.Path) -> None:
    """Raises an InputError if fewer than `budget` rows are not labelled, bool[N]."""
    available = labelled.size - labelled.sum()
    if budget > available:
        raise errors.InputError(
            f"--budget={budget} is more than the {available} rows of {pool} that are "
            f"not labelled already, of {labelled.size}."
        )


def check_output(
    output: pathlib.Path, inputs: Sequence[pathlib.Path], *, overwrite: bool
) -> None:
    """Raises an InputError if a file cannot be written, or must not be replaced.

    Args:
      output: the file to write.
      inputs: files that are read, which must not be replaced.
      overwrite: whether `output` may exist.
    """
    if output.suffix not in _SUFFIXES:
        raise errors.InputError(
            f"--output={output} must end in {' or '.join(_SUFFIXES)}."
        )
    if not output.parent.is_dir():
        raise errors.InputError(
            f"--output={output}: there is no folder {output.parent}; create it first."
        )
    if not os.access(output.parent, os.W_OK):
        raise errors.InputError(
            f"--output={output}: the folder {output.parent} is not writable."
        )
    if output.is_dir():
        raise errors.InputError(f"--output={output} is a folder: name a file.")
    if output.resolve() in [path.resolve() for path in inputs]:
        raise errors.InputError(
            f"--output={output} is also an input: name another file."
        )
    if output.exists() and not overwrite:
        raise errors.InputError(
            f"--output={output} exists: name another file, or add --overwrite."
        )


def write(path: pathlib.Path, picked: Picked, names: np.ndarray | None) -> None:
    """Writes picks to a file atomically.

    Args:
      path: ends in .csv for a table of order (from 0), row, score and, where rows have
        names, path; in .npy for int32[budget], the rows in pick order.
      names: str[N], of the pool's rows, or None.
    """
    if path.suffix == ".npy":
        content = io.BytesIO()
        np.save(content, picked.row)
        storage.write_atomic(path, content.getvalue(), shared=True)
    else:
        storage.write_atomic(path, _table(picked, names), shared=True)


def check_finite(values: np.ndarray, where: str) -> None:
    """Raises an InputError that names the first row with NaN, inf or float32 overflow.

    Args:
      values: [N, columns] real numbers, read in blocks of rows.
      where: the flag or file that they come from.
    """
    for start in range(0, len(values), _BLOCK_ROWS):
        with np.errstate(over="ignore"):
            block = np.asarray(values[start : start + _BLOCK_ROWS]).astype(np.float32)
        wrong = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(wrong):
            raise errors.InputError(
                f"{where} must hold finite float32 numbers; row {start + wrong[0]} "
                "does not."
            )


def _table(picked: Picked, names: np.ndarray | None) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["order", "row", "score", *([] if names is None else ["path"])])
    for order, (row, score) in enumerate(zip(picked.row, picked.score, strict=True)):
        table.writerow([order, row, score, *([] if names is None else [names[row]])])
    return text.getvalue()


def _matrix(path: pathlib.Path, flag: str, shape: str) -> np.ndarray:
    values = array_files.mapped(path, f"{flag}={path}")
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
        raise errors.InputError(
            f"{flag}={path} must be {shape} real numbers, not {_describe(values)}."
        )
    return values


def _read_lines(path: pathlib.Path) -> list[tuple[int, int]]:
    """(line, row number) for each line of a text or record of a CSV file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            records = [(reader.line_num, record) for record in reader if any(record)]
    except FileNotFoundError:
        raise errors.InputError(f"there is no file {path} (--labelled).") from None
    except (UnicodeDecodeError, csv.Error):
        raise errors.InputError(
            f"--labelled={path} is not a text file with one row number per line."
        ) from None
    column = None
    if records and "row" in records[0][1]:
        column = records.pop(0)[1].index("row")
    return [(line, _parse_row(path, line, record, column)) for line, record in records]


def _parse_row(
    path: pathlib.Path, line: int, record: list[str], column: int | None
) -> int:
    fields = record if column is None else record[column : column + 1]
    try:
        (text,) = fields
        return int(text)
    except ValueError:
        raise errors.InputError(
            f"{path}, line {line}: {','.join(fields)!r} is not one row number; write "
            'one per line, or a header with a column "row".'
        ) from None


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype}{list(array.shape)}"
