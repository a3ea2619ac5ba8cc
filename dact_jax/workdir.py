"""A run's folder: its rows of numbers, where each pick came from, its config."""

import csv
import importlib.metadata
import io
import json
import math
import os
import pathlib
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from dact_jax import errors

METRICS, PICKS, CONFIG = "metrics.jsonl", "picks.csv", "config.yaml"
_PACKAGES = ("dact_jax", "jax", "flax", "optax", "orbax-checkpoint", "numpy")
_UNSET = "(not set)"
_SHOWN = 3  # differing fields that a refusal spells out

Row = Mapping[str, Any]


class Pick(NamedTuple):
    """One line of picks.csv."""

    round: int  # the first round that trains on it; 0: the labels a run begins with
    order: int  # place among those picked at once, from 0
    side: str  # "target" or "source"
    id: str  # of the image, as its data set names it
    score: float  # what the acquisition ranked by
    acquisition: str
    # Of the model that ranked, such as "0/300" (round/iterations); "predictor/2": that
    # of the second iteration of D_AcT; empty: no model did.
    checkpoint: str


def append(folder: pathlib.Path, rows: Iterable[Row]) -> None:
    """Adds rows to metrics.jsonl; they are on the disk when this returns.

    Call it *before* the checkpoint of the same place is saved: `rewind` drops what came
    after the checkpoint and cannot bring back any row that is missing.

    Args:
      folder: of the run.
      rows: each has "event" ("train", "eval", "round", "select", or "pretrain", which
        is in round -1),
        "round" and "step" (iterations done in this round), and plain Python numbers,
        which are read back exactly.

    Raises:
      ValueError: a number is NaN or infinite.
    """
    _extend(folder / METRICS, "".join(map(_line, rows)))


def append_picks(folder: pathlib.Path, picks: Iterable[Pick]) -> None:
    """Adds picks to picks.csv, as `append` does; the first call writes its header."""
    path = folder / PICKS
    _extend(path, _table(picks, header=not _size(path)))


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
    """All rows of metrics.jsonl, without a last one that a kill cut off.

    Raises:
      InputError: another line is not JSON.
    """
    path = folder / METRICS
    rows = []
    for number, line in enumerate(_text(path).split("\n")[:-1], start=1):
        try:
            row = json.loads(line)
            row["event"], row["round"], row["step"]  # what every row has
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise errors.InputError(
                f"{path}, line {number} is not a row of a run: mend or delete it."
            ) from error
        rows.append(row)
    return rows


def read_picks(folder: pathlib.Path) -> list[Pick]:
    """All picks of picks.csv, without a last one that a kill cut off.

    Raises:
      InputError: another line is not a pick.
    """
    path = folder / PICKS
    text = _text(path)
    records = list(csv.reader(io.StringIO(text, newline="")))
    if len(records) > 1 and tuple(records[0]) != Pick._fields:
        raise errors.InputError(
            f"{path} must begin with the line {','.join(Pick._fields)}: put it back."
        )
    # An id may hold a line end, so a record can be cut right after one.
    if records and not (text.endswith("\n") and len(records[-1]) == len(Pick._fields)):
        records.pop()
    return [_pick(path, n, fields) for n, fields in enumerate(records[1:], start=1)]


def extent(folder: pathlib.Path) -> tuple[int, int]:
    """Bytes of metrics.jsonl and picks.csv: what `rewind` can go back to."""
    return _size(folder / METRICS), _size(folder / PICKS)


def rewind(folder: pathlib.Path, written: tuple[int, int]) -> None:
    """Drops what metrics.jsonl and picks.csv hold beyond a restored checkpoint.

    A run that was killed and goes on then ends with the rows of one never killed. A
    last line that a kill cut off goes too, also of a file that somebody has shortened.

    Args:
      folder: of the run.
      written: `extent` when the checkpoint was saved; (0, 0): there is none.
    """
    for name, size in zip((METRICS, PICKS), written, strict=True):
        path = folder / name
        if path.exists():  # shorter than it was if somebody has mended it
            os.truncate(path, path.read_bytes()[:size].rfind(b"\n") + 1)


def claim(
    folder: pathlib.Path,
    config: Mapping[str, Any],
    *,
    data: Mapping[str, str] | None,
    devices: Sequence[str],
    flag: str = "--workdir",
) -> None:
    """Makes the folder this run's own, or checks that it already is.

    Without `data` it only checks, and compares `config` alone: what can be told
    before the data are read.

    A new or empty folder gets config.yaml with `config`, `data`, `devices` and the
    versions of the libraries. In a run's folder `config` and `data` must be the same as
    then; devices and versions may differ, and those of the beginning stay written.

    Args:
      folder: of the run.
      config: resolved, nested; plain values.
      data: what was read -> a fingerprint of it, such as "target" -> "sha256:...";
        None: nothing was read yet.
      devices: names, such as "cpu".
      flag: what the user would change to have another folder.

    Raises:
      InputError: the folder is another run's, or not a run's.
    """
    path = folder / CONFIG
    # As it would be read back: tuples become lists.
    now = yaml.safe_load(
        yaml.safe_dump({"config": dict(config), "data": dict(data or {})})
    )
    if path.exists():
        then = _load(path, flag)
        if data is None:
            then = {**then, "data": {}}
        _compare(folder, then, now, flag)
        return
    if folder.exists() and (not folder.is_dir() or _foreign(folder)):
        raise errors.InputError(
            f"{folder} exists and holds no {CONFIG}, so it is not the folder of a run: "
            f"give an empty or new {flag}."
        )
    if data is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    origin = {
        "versions": versions | {"python": platform.python_version()},
        "devices": list(devices),
    }
    _replace(path, yaml.dump(now | origin, Dumper=_Plain, sort_keys=False))


class _Plain(yaml.SafeDumper):
    """Writes a value that occurs twice twice, not as an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _line(row: Row) -> str:
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} is {value} in the row {dict(row)}")
    return json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n"


def _table(picks: Iterable[Pick], *, header: bool) -> str:
    out = io.StringIO(newline="")
    if header:
        out.write(",".join(Pick._fields) + "\n")
    # Quoted strings: the csv module would leave an id with a bare \r unquoted.
    csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows(picks)
    return out.getvalue()


def _pick(path: pathlib.Path, number: int, fields: list[str]) -> Pick:
    try:
        round_, order, side, id_, score, acquisition, checkpoint = fields
        return Pick(
            int(round_), int(order), side, id_, float(score), acquisition, checkpoint
        )
    except ValueError as error:
        raise errors.InputError(
            f"{path}, pick {number} is not {','.join(Pick._fields)} but {fields}: "
            "mend or delete that line."
        ) from error


def _compare(
    folder: pathlib.Path, then: Mapping[str, Any], now: Mapping[str, Any], flag: str
) -> None:
    fields = _differences(then["config"], now["config"])
    if fields:
        more = len(fields) - _SHOWN
        tail = f"; and {more} more" if more > 0 else ""
        raise errors.InputError(
            f"{folder} was made with {'; '.join(fields[:_SHOWN])}{tail}: "
            f"give another {flag} or the old value{'s' if len(fields) > 1 else ''}."
        )
    files = _differences(then["data"], now["data"])
    if files:
        raise errors.InputError(
            f"{folder} was made with other data, {'; '.join(files)}: "
            f"give another {flag} or the old files."
        )


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = _flat(then), _flat(now)
    return [
        f"{name}={old.get(name, _UNSET)}, this run asks for {new.get(name, _UNSET)}"
        for name in old | new
        if name not in old or name not in new or old[name] != new[name]
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _load(path: pathlib.Path, flag: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(_text(path))
        return {"config": dict(found["config"]), "data": dict(found["data"])}
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise errors.InputError(
            f"{path} is not what a run writes there: give another {flag}."
        ) from error


def _foreign(folder: pathlib.Path) -> bool:
    # A kill in the middle of claiming leaves the temporary file and nothing else.
    return any(
        path.name != _temporary(folder / CONFIG).name for path in folder.iterdir()
    )


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _text(path: pathlib.Path) -> str:
    if not path.exists():
        return ""
    # newline="" keeps an id's own line ends; surrogateescape carries file names that
    # are not UTF-8, and a character that a kill cut in two.
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def _extend(path: pathlib.Path, text: str, mode: str = "a") -> None:
    with path.open(
        mode, encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _temporary(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f"{path.name}.tmp")


def _replace(path: pathlib.Path, text: str) -> None:
    _extend(_temporary(path), text, "w")
    os.replace(_temporary(path), path)
