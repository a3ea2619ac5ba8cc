"""labels.csv: every answer that a person has given, append-only, in a run's folder."""

import contextlib
import csv
import datetime
import io
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from dact_jax import cells, errors, storage
from dact_jax.rounds import lock

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FILE = "labels.csv"
PAGE, PYTHON = "page", "python"  # where answers come from, besides files


class Answer(NamedTuple):
    """One line of labels.csv. The last line of an image counts."""

    id: str  # of the image, as its dataset names it
    label: str  # the name of a class; "" if the image is skipped
    skip: bool  # the image leaves the pool for good
    when: str  # UTC, such as "2026-01-31T12:00:00Z"
    origin: str  # PAGE, PYTHON, or the file that it was read from
    suggested: str = ""  # what the network suggested; "" without a suggestion
    seconds: float | None = None  # from the question to the answer, where measured


def now() -> str:
    """The time for `Answer.when`."""
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"


def append(folder: pathlib.Path, given: Iterable[Answer]) -> None:
    """Adds answers; they are on the disk when this returns.

    Several processes may append at once. A killed process may leave the first of its
    answers; an incomplete last line was never confirmed to anyone and is dropped.

    Raises:
      OSError: they cannot be written, as on a full disk. None of them is added then,
        if the disk lets the file be cut off.
    """
    path = folder / FILE
    # Without a buffer: closing the file would write again what was refused before.
    with (
        storage.naming(path),
        path.open("ab", buffering=0) as file,
        _held(file.fileno()),
    ):
        size = _complete(path)
        os.ftruncate(file.fileno(), size)
        text = _table(given, header=not size)
        try:
            _write(file, text.encode("utf-8", "surrogateescape"))
            os.fsync(file.fileno())
            if not size:
                storage.flush_names(folder)  # the file is new
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                os.ftruncate(file.fileno(), size)
            raise


def _write(file: io.FileIO, content: bytes) -> None:
    """All of it: the system may take a part at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def read(folder: pathlib.Path) -> list[Answer]:
    """All answers, in order; an incomplete last line is left out.

    Raises:
      InputError: another line is not an answer.
    """
    path = folder / FILE
    records, _ = _records(path)
    if records and tuple(records[0]) != Answer._fields:
        raise errors.InputError(
            f"{path} must begin with the line {','.join(Answer._fields)}: restore it."
        )
    return [_answer(path, n, fields) for n, fields in enumerate(records[1:], start=1)]


def latest(given: Iterable[Answer]) -> Mapping[str, Answer]:
    """The answer that counts, by the id of its image."""
    return {answer.id: answer for answer in given}


def _records(path: pathlib.Path) -> tuple[list[list[str]], int]:
    """The complete lines as lists of cells, and how many bytes they take."""
    text = storage.read_text(path)
    kept, records = 0, []
    source = io.StringIO(text, newline="")
    try:
        for record in csv.reader(iter(source.readline, "")):
            end = source.tell()
            whole = text[end - 1 : end] == "\n" and len(record) == len(Answer._fields)
            if end == len(text) and not whole:
                break
            records.append(record)
            kept = end
    except csv.Error as error:
        raise errors.InputError(
            f"{path} is not a table of answers: {errors.clause(error)}; restore it."
        ) from None
    return records, len(text[:kept].encode("utf-8", "surrogateescape"))


def _complete(path: pathlib.Path) -> int:
    return _records(path)[1]


@contextlib.contextmanager
def _held(file: int) -> Iterator[None]:
    """Keeps other writers of this file waiting; ends with the process at the latest.

    Where there are no locks, a warning says so: two writers at once are then unsafe.
    """
    if fcntl is None:
        lock.warn(FILE, "this operating system has none that this program knows")
    else:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in lock.UNKNOWN:
                raise
            lock.warn(FILE, "its file system has none")
    yield  # closing the file gives the lock back


def _table(given: Iterable[Answer], *, header: bool) -> str:
    out = io.StringIO(newline="")
    if header:
        out.write(",".join(Answer._fields) + "\n")
    # Quote all strings: the csv module leaves an id with a bare \r unquoted.
    table = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    for answer in given:
        seconds = "" if answer.seconds is None else round(answer.seconds, 2)
        row = {**answer._asdict(), "skip": int(answer.skip), "seconds": seconds}
        table.writerow(cells.neutralize_row(row.values()))
    return out.getvalue()


def _answer(path: pathlib.Path, number: int, fields: list[str]) -> Answer:
    try:
        id_, label, skip, when, origin, suggested, seconds = map(cells.restore, fields)
        answer = Answer(
            id_,
            label,
            {"0": False, "1": True}[skip],
            when,
            origin,
            suggested,
            float(seconds) if seconds else None,
        )
        if answer.skip == bool(label):
            raise ValueError("it has neither or both of a label and skip=1")
        return answer
    except (ValueError, KeyError) as error:
        raise errors.InputError(
            f"{path}, answer {number} is not {','.join(Answer._fields)} but "
            f"{fields}: restore the file."
        ) from error
