"""Files that a reader left out: said in lines, refused, and kept as left_out.csv."""

import csv
import io
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dact_jax import cells, errors, storage
from dact_jax.types import LeftOut

FILE = "left_out.csv"
SHOWN = 20  # files that a message or a report names


class Row(NamedTuple):
    """One line of left_out.csv."""

    side: str  # "source" or "target"
    path: str  # as ids are: below the folder of the domain's folder
    reason: str


def refusal(root: pathlib.Path, damaged: Sequence[LeftOut]) -> str:
    """The error about files that must be readable: names twenty of them at most."""
    listed = [f"{errors.printable(str(root / file.path))}" for file in damaged]
    if len(damaged) == 1:
        return (
            f"{listed[0]} cannot be read: {damaged[0].reason}; "
            "data.on_error='skip' leaves it out."
        )
    lines = [
        f"{path}: {file.reason}"
        for path, file in zip(listed[:SHOWN], damaged, strict=False)
    ]
    return "\n  ".join(
        [
            f"{count(damaged)} cannot be read; data.on_error='skip' leaves them out:",
            *lines,
            *_more(len(damaged)),
        ]
    )


def lines(name: str, files: Sequence[LeftOut]) -> list[str]:
    """What to tell a user about the files left out of a domain; none without any."""
    if not files:
        return []
    head = (
        f"Left out of {errors.printable(name)}: {count(files)} "
        f"({FILE} in the run's folder lists all)."
    )
    listed = [f"{errors.printable(f.path)}: {f.reason}" for f in files[:SHOWN]]
    return [head, *(f"  {line}" for line in [*listed, *_more(len(files))])]


def count(files: Sequence[object]) -> str:
    """How many there are, such as "3 files or folders"."""
    return "1 file or folder" if len(files) == 1 else f"{len(files)} files or folders"


def write(folder: pathlib.Path, sides: Mapping[str, Iterable[LeftOut]]) -> None:
    """Writes all files left out to left_out.csv; without any there is no such file.

    Args:
      folder: of the run.
      sides: "source" and "target", with what was left out of them.
    """
    rows = [
        Row(side, file.path, file.reason)
        for side, files in sides.items()
        for file in files
    ]
    path = folder / FILE
    if not rows:
        path.unlink(missing_ok=True)
        return
    out = io.StringIO(newline="")
    table = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    table.writerow(Row._fields)
    table.writerows(map(cells.neutralize_row, rows))
    storage.write_atomic(path, out.getvalue())


def read(folder: pathlib.Path) -> list[Row]:
    """The rows of left_out.csv; none if there is no such file.

    Raises:
      InputError: a row has not three cells.
    """
    path = folder / FILE
    records = list(csv.reader(io.StringIO(storage.read_text(path), newline="")))
    for number, record in enumerate(records[1:], start=1):
        if len(record) != len(Row._fields):
            raise errors.InputError(
                f"{path}, row {number} is not {','.join(Row._fields)}: delete the "
                "file; the same command writes it again."
            )
    return [Row(*map(cells.restore, record)) for record in records[1:]]


def _more(count: int) -> list[str]:
    return [f"and {count - SHOWN} more"] if count > SHOWN else []
