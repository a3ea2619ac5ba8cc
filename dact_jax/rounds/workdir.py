"""A run's folder: metrics.jsonl, the rows of metrics, and picks.csv, every pick."""

import csv
import io
import json
import math
import os
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from dact_jax import cells, errors, storage
from dact_jax.rounds.formats import manifest, rows
from dact_jax.types import Row

METRICS, PICKS, CONFIG = "metrics.jsonl", "picks.csv", "config.yaml"
PRETRAINED = "pretrained"  # the folder of the stage on the source alone
CHECKPOINTS = "checkpoints"
EMBEDDINGS = "embeddings"  # folder of vectors that were computed before


class Pick(NamedTuple):
    """One line of picks.csv."""

    round: int  # the first round that trains on it; 0: the initial labels
    order: int  # position within its selection, from 0
    side: str  # "target" or "source"
    id: str  # of the image, as its dataset names it
    score: float  # what the acquisition ranked by
    acquisition: str
    # The network that ranked: "0/300" (round/iterations), "predictor/2" (the loss
    # predictor in iteration 2 of D_AcT), or empty where no network ranked.
    checkpoint: str


def append(folder: pathlib.Path, rows: Iterable[Row]) -> None:
    """Adds rows to metrics.jsonl; they are on the disk when this returns.

    Call it *before* the checkpoint of the same step is saved: `rewind` drops rows that
    were written after a checkpoint, but cannot restore rows that are missing.

    Args:
      rows: each has "event" ("train", "eval", "round", "select", "correct" or
        "pretrain"), "round" (-1 for "pretrain"), "step" (iterations done in the
        round), and plain Python numbers, which are read back exactly.

    Raises:
      ValueError: a number is NaN or infinite.
    """
    storage.append_text(folder / METRICS, "".join(map(_line, rows)))


def append_picks(folder: pathlib.Path, picks: Iterable[Pick]) -> None:
    """Adds picks to picks.csv, as `append` does; the first call writes its header."""
    path = folder / PICKS
    storage.append_text(path, _table(picks, header=not _size(path)))


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
    """All rows of metrics.jsonl; an incomplete last line is left out.

    Raises:
      InputError: another line is not a row, or lacks a field that its event has.
    """
    path = folder / METRICS
    found = []
    for number, line in enumerate(storage.read_text(path).split("\n")[:-1], start=1):
        try:
            found.append(rows.parse(line))
        except ValueError as error:
            raise errors.InputError(
                f"{path}, line {number} is not a row of metrics: {error}; restore the "
                "file."
            ) from error
    return found


def has_round(folder: pathlib.Path) -> bool:
    """Whether a round is finished, so that there is something to report."""
    return any(row["event"] == "round" for row in read(folder))


def read_picks(folder: pathlib.Path) -> list[Pick]:
    """All picks of picks.csv; an incomplete last line is left out.

    Raises:
      InputError: another line is not a pick.
    """
    path = folder / PICKS
    text = storage.read_text(path)
    try:
        records = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise errors.InputError(
            f"{path} is not a table of picks: {error}; restore it."
        ) from error
    if len(records) > 1 and tuple(records[0]) != Pick._fields:
        raise errors.InputError(
            f"{path} must begin with the line {','.join(Pick._fields)}: restore it."
        )
    # An id may contain a line end, so a record can be cut off right after one.
    if records and not (text.endswith("\n") and len(records[-1]) == len(Pick._fields)):
        records.pop()
    return [_pick(path, n, fields) for n, fields in enumerate(records[1:], start=1)]


def check(folder: pathlib.Path, *, flag: str = "--workdir") -> None:
    """Checks that the record still begins as the newest checkpoint knows it.

    Without checkpoints there is nothing to compare with.

    Raises:
      InputError: metrics.jsonl or picks.csv has lost rows, or was changed.
    """
    for name, saved in manifest.newest_record(folder / CHECKPOINTS).items():
        found = manifest.beginning(folder / name, saved.size)
        if found.size < saved.size:
            raise _lost(folder / name, found.size, saved.size, flag)
        if found != saved:
            raise errors.InputError(
                f"{folder / name} was changed: its first {saved.size} bytes are not "
                f"those that the run wrote; restore it, or give another {flag}."
            )


def extent(folder: pathlib.Path) -> tuple[int, int]:
    """Sizes of metrics.jsonl and picks.csv in bytes, for `rewind`."""
    return _size(folder / METRICS), _size(folder / PICKS)


def rewind(
    folder: pathlib.Path, written: tuple[int, int] | None, *, flag: str = "--workdir"
) -> None:
    """Drops what metrics.jsonl and picks.csv hold beyond a restored checkpoint.

    A run that was killed and resumed then ends with the same rows as one that was not.

    Args:
      written: `extent` when the checkpoint was saved; None without a checkpoint.
      flag: the command-line flag that names the folder, for error messages.

    Raises:
      InputError: rows are missing; nothing is dropped then.
    """
    require(folder, written, flag=flag)
    for name, size in zip((METRICS, PICKS), written or (0, 0), strict=True):
        if _size(folder / name) > size:
            os.truncate(folder / name, size)


def require(
    folder: pathlib.Path, written: tuple[int, int] | None, *, flag: str = "--workdir"
) -> None:
    """Checks that the record holds all that a checkpoint was saved after.

    Args:
      written: `extent` when the checkpoint was saved; None without a checkpoint.
      flag: the command-line flag that names the folder, for error messages.

    Raises:
      InputError: rows are missing; or rounds are recorded, but there is no checkpoint.
    """
    for name, size in zip((METRICS, PICKS), written or (0, 0), strict=True):
        if _size(folder / name) < size:
            raise _lost(folder / name, _size(folder / name), size, flag)
    if written is None and _has_begun(folder):
        raise errors.InputError(
            f"{folder} has a record of rounds, but {folder / CHECKPOINTS} holds no "
            f"checkpoint to go on from: restore it, or give another {flag}."
        )


def _has_begun(folder: pathlib.Path) -> bool:
    """Whether there is more than is written before the first checkpoint.

    That is the row of pre-training, and the first labels with their corrections.
    """
    before = ("pretrain", "correct")
    trained = any(row["event"] not in before for row in read(folder))
    return trained or any(pick.round for pick in read_picks(folder))


def _lost(path: pathlib.Path, size: int, saved: int, flag: str) -> errors.InputError:
    return errors.InputError(
        f"{path} has lost rows: it holds {size} bytes, and held {saved} when the last "
        f"checkpoint was saved; restore it, or give another {flag}."
    )


def _line(row: Row) -> str:
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} is {value} in the row {dict(row)}")
    return json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n"


def _table(picks: Iterable[Pick], *, header: bool) -> str:
    out = io.StringIO(newline="")
    if header:
        out.write(",".join(Pick._fields) + "\n")
    # Quote all strings: the csv module leaves an id with a bare \r unquoted.
    table = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    table.writerows(map(cells.neutralize_row, picks))
    return out.getvalue()


def _pick(path: pathlib.Path, number: int, fields: list[str]) -> Pick:
    try:
        round_, order, side, id_, score, acquisition, checkpoint = map(
            cells.restore, fields
        )
        return Pick(
            int(round_), int(order), side, id_, float(score), acquisition, checkpoint
        )
    except ValueError as error:
        raise errors.InputError(
            f"{path}, pick {number} is not {','.join(Pick._fields)} but {fields}: "
            "restore the file."
        ) from error


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else 0
