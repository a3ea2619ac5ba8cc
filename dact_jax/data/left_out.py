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
_FIELD = "data.on_error='skip'"


class Row(NamedTuple):
    """One line of left_out.csv."""

    side: str  # "source" or "target"
    path: str  # as ids are: below the folder of the domain's folder
    reason: str


def refusal(
    root: pathlib.Path, damaged: Sequence[LeftOut], *, way: str = _FIELD
) -> str:
    """The error about files that must be readable: names twenty of them at most.

    Args:
      root: folder that their paths are relative to.
      way: what leaves them out.
    """
    files = [file._replace(path=str(root / file.path)) for file in damaged]
    if len(files) == 1:
        path = errors.printable(files[0].path)
        return f"{path} cannot be read: {files[0].reason}; {way} leaves it out."
    head = f"{count(files)} cannot be read; {way} leaves them out:"
    return "\n  ".join([head, *listed(files)])


def lines(name: str, files: Sequence[LeftOut]) -> list[str]:
    """What to tell a user about the files left out of a domain; none without any."""
    if not files:
        return []
    head = (
        f"Left out of {errors.printable(name)}: {count(files)} "
        f"({FILE} in the run's folder lists all)."
    )
    return [head, *(f"  {line}" for line in listed(files))]


def listed(files: Sequence[LeftOut]) -> list[str]:
    """The files with their reasons: twenty of them, and how many more there are."""
    lines = [f"{errors.printable(f.path)}: {f.reason}" for f in files[:SHOWN]]
    more = len(files) - SHOWN
    return [*lines, f"and {more} more"] if more > 0 else lines


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
