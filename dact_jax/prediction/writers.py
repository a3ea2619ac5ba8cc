"""Tables of predictions as .csv, .jsonl or .parquet, written while they are made."""

import contextlib
import csv
import importlib.util
import io
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dact_jax import cells, errors
from dact_jax.queries import names

ENDINGS = (".csv", ".jsonl", ".parquet")
PREFIX = "p_"  # of the columns with probabilities, before the name of the class
_COLUMNS = ("path", "label", "confidence", "margin", "reason")
_TRUE = "true_label"
_GROUP = 10_000  # lines that a row group of a Parquet file holds


class Line(NamedTuple):
    """What is said of one file."""

    path: str
    label: str | None  # None: it could not be read, or its confidence is too low
    confidence: np.float32 | None  # None: it could not be read
    margin: np.float32 | None
    reason: str  # why there is no label
    true_label: str | None = None  # None: it is not known
    probabilities: np.ndarray | None = None  # float32[K]; None: it could not be read


class Form(NamedTuple):
    """What a table holds besides paths, labels, confidences, margins and reasons."""

    class_names: tuple[str, ...]
    probabilities: bool = False
    true_labels: bool = False


Write = Callable[[Sequence[Line]], None]


def require(ending: str) -> None:
    """Checks that what a form needs is installed.

    Raises:
      InputError: it is not.
    """
    if ending == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise errors.InputError(
            "a .parquet file needs pyarrow: pip install 'dact_jax[parquet]', or give "
            "a .csv or .jsonl file."
        )


@contextlib.contextmanager
def opened(path: pathlib.Path, ending: str, form: Form) -> Iterator[Write]:
    """A table that is written line by line; it is whole when the block ends.

    Args:
      path: of the file, which may be a draft of any name.
      ending: one of ENDINGS.
    """
    make = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[ending]
    with make(path, form) as write:
        yield write


@contextlib.contextmanager
def _csv(path: pathlib.Path, form: Form) -> Iterator[Write]:
    with _text(path) as file:
        table = csv.writer(file, lineterminator="\n")
        names = [PREFIX + name for name in form.class_names]
        header = [*_COLUMNS, *([_TRUE] if form.true_labels else [])]
        header += names if form.probabilities else []
        table.writerow(cells.neutralize_row(header))

        def write(lines: Sequence[Line]) -> None:
            for line in lines:
                row: list[Any] = [*line[: len(_COLUMNS)]]
                row += [line.true_label] if form.true_labels else []
                if form.probabilities:
                    none = [None] * len(names)
                    values = line.probabilities
                    row += none if values is None else list(values)
                table.writerow(cells.neutralize_row(map(_cell, row)))

        yield write


@contextlib.contextmanager
def _jsonl(path: pathlib.Path, form: Form) -> Iterator[Write]:
    with _text(path) as file:

        def write(lines: Sequence[Line]) -> None:
            for line in lines:
                row: dict[str, Any] = {
                    "path": line.path,
                    "label": line.label,
                    "confidence": _number(line.confidence),
                    "margin": _number(line.margin),
                    "reason": line.reason or None,
                }
                if form.true_labels:
                    row[_TRUE] = line.true_label
                if form.probabilities:
                    row["probabilities"] = _by_class(line, form.class_names)
                file.write(f"{json.dumps(row)}\n")

        yield write


def _by_class(line: Line, class_names: Sequence[str]) -> Mapping[str, Any] | None:
    if line.probabilities is None:
        return None
    numbers = map(_number, line.probabilities)
    return dict(zip(class_names, numbers, strict=True))


@contextlib.contextmanager
def _parquet(path: pathlib.Path, form: Form) -> Iterator[Write]:
    import pyarrow
    from pyarrow import parquet

    text, number = pyarrow.string(), pyarrow.float32()
    fields = [(name, text) for name in ("path", "label")]
    fields += [("confidence", number), ("margin", number), ("reason", text)]
    fields += [(_TRUE, text)] if form.true_labels else []
    if form.probabilities:
        fields += [(PREFIX + names.writable(name), number) for name in form.class_names]
    classes = json.dumps(list(map(names.writable, form.class_names)))
    schema = pyarrow.schema(fields, metadata={"classes": classes})
    waiting: list[Line] = []

    with parquet.ParquetWriter(path, schema) as table:

        def flush() -> None:
            columns = _columns(waiting, form)
            arrays = [
                pyarrow.array(column, kind)
                for column, (_, kind) in zip(columns, fields, strict=True)
            ]
            table.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            waiting.clear()

        def write(lines: Sequence[Line]) -> None:
            waiting.extend(lines)
            if len(waiting) >= _GROUP:
                flush()

        yield write
        flush()


def _columns(lines: Sequence[Line], form: Form) -> list[list[Any]]:
    """The columns of a Parquet file, which holds UTF-8 text alone."""

    def texts(values: Sequence[str | None]) -> list[str | None]:
        return [value and names.writable(value) for value in values]

    columns: list[list[Any]] = [
        texts([line.path for line in lines]),
        texts([line.label for line in lines]),
        [line.confidence for line in lines],
        [line.margin for line in lines],
        texts([line.reason or None for line in lines]),
    ]
    columns += [texts([line.true_label for line in lines])] if form.true_labels else []
    if form.probabilities:
        for k in range(len(form.class_names)):
            given = (line.probabilities for line in lines)
            columns.append([None if p is None else p[k] for p in given])
    return columns


def _text(path: pathlib.Path) -> io.TextIOWrapper:
    # As `storage` writes texts: names of files that are not UTF-8 stay as they are.
    return path.open("w", encoding="utf-8", errors="surrogateescape", newline="")


def _cell(value: Any) -> Any:
    """A cell of a CSV file: numbers with as many digits as tell them apart."""
    return "" if value is None else str(value) if not isinstance(value, str) else value


def _number(value: np.float32 | None) -> float | None:
    return None if value is None else float(str(value))
