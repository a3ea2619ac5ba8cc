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
from dact_jax.types import Row

METRICS, PICKS, CONFIG = "metrics.jsonl", "picks.csv", "config.yaml"


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
      rows: each has "event" ("train", "eval", "round", "select" or "pretrain"),
        "round" (-1 for "pretrain"), "step" (iterations done in the round), and plain
        Python numbers, which are read back exactly.

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
      InputError: another line is not a row.
    """
    path = folder / METRICS
    rows = []
    for number, line in enumerate(storage.read_text(path).split("\n")[:-1], start=1):
        try:
            row = json.loads(line)
            row["event"], row["round"], row["step"]  # every row has these
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise errors.InputError(
                f"{path}, line {number} is not a row of metrics: correct or delete it."
            ) from error
        rows.append(row)
    return rows


def read_picks(folder: pathlib.Path) -> list[Pick]:
    """All picks of picks.csv; an incomplete last line is left out.

    Raises:
      InputError: another line is not a pick.
    """
    path = folder / PICKS
    text = storage.read_text(path)
    records = list(csv.reader(io.StringIO(text, newline="")))
    if len(records) > 1 and tuple(records[0]) != Pick._fields:
        raise errors.InputError(
            f"{path} must begin with the line {','.join(Pick._fields)}: restore it."
        )
    # An id may contain a line end, so a record can be cut off right after one.
    if records and not (text.endswith("\n") and len(records[-1]) == len(Pick._fields)):
        records.pop()
    return [_pick(path, n, fields) for n, fields in enumerate(records[1:], start=1)]


def extent(folder: pathlib.Path) -> tuple[int, int]:
    """Sizes of metrics.jsonl and picks.csv in bytes, for `rewind`."""
    return _size(folder / METRICS), _size(folder / PICKS)


def rewind(folder: pathlib.Path, written: tuple[int, int]) -> None:
    """Drops what metrics.jsonl and picks.csv hold beyond a restored checkpoint.

    A run that was killed and resumed then ends with the same rows as one that was not.
    An incomplete last line is dropped too, also where a file is shorter than `written`.

    Args:
      written: `extent` when the checkpoint was saved; (0, 0) without a checkpoint.
    """
    for name, size in zip((METRICS, PICKS), written, strict=True):
        path = folder / name
        if path.exists():
            os.truncate(path, path.read_bytes()[:size].rfind(b"\n") + 1)


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
            "correct or delete that line."
        ) from error


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else 0
