"""Runs beside this one that it can be compared with: same data, same classes and seed.

They are the accuracy of the source alone, and the twin that bought at random.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dact_jax import errors, storage
from dact_jax.reports import alike
from dact_jax.reports.page.charts import Line
from dact_jax.rounds import claim, workdir
from dact_jax.rounds.claim import Record
from dact_jax.types import Row

SOURCE_ONLY, RANDOM = "source_only", "random"
_MOST = 200  # folders beside it that are looked at
_OWN = ("acquisition", "name")  # fields of which the twin of a run has others


class Neighbors(NamedTuple):
    """Rows of finished rounds of other runs."""

    source_only: Sequence[Row] | None
    random: Sequence[Row] | None
    folders: Sequence[str]  # their names


def find(folder: pathlib.Path) -> Neighbors:
    """The runs in the same parent folder; those that cannot be read are passed over."""
    try:
        own = claim.read(folder)
    except errors.InputError:
        return Neighbors(None, None, ())
    found: dict[str, tuple[str, Sequence[Row]]] = {}
    for other in _beside(folder):
        with contextlib.suppress(errors.InputError, OSError, LookupError):
            kind = _kind(own, claim.read(other)) if _may_be(other, own) else ""
            if kind and kind not in found and (rounds := _rounds(other)):
                found[kind] = other.name, rounds
    rows = {kind: rounds for kind, (_, rounds) in found.items()}
    names = [name for name, _ in found.values()]
    return Neighbors(rows.get(SOURCE_ONLY), rows.get(RANDOM), names)


def lines(neighbors: Neighbors) -> list[Line]:
    """What a chart of accuracy against labels shows of them."""
    shown = []
    if neighbors.source_only:
        level = 100 * neighbors.source_only[-1]["test_accuracy"]
        shown.append(Line("source only", [], [level], flat=True, dotted=True))
    if neighbors.random:
        x = [row["labels_target"] for row in neighbors.random]
        y = [100 * row["test_accuracy"] for row in neighbors.random]
        shown.append(Line("the same, bought at random", x, y, dotted=True))
    return shown


def _beside(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Other folders of runs, in the order of their names."""
    own = folder.resolve()
    others = sorted(path for path in own.parent.iterdir() if path != own)[:_MOST]
    yield from (path for path in others if (path / workdir.CONFIG).is_file())


def _may_be(folder: pathlib.Path, own: Record) -> bool:
    """Whether its config may be one of those looked for: it is read in no time."""
    text = storage.read_text(folder / workdir.CONFIG)
    digests = [own.data.get(side, "") for side in ("source", "target")]
    return all(digest in text for digest in digests) and (
        f"method: {SOURCE_ONLY}" in text or f"acquisition: {RANDOM}" in text
    )


def _kind(own: Record, other: Record) -> str:
    """SOURCE_ONLY, RANDOM, or "" for a run that says nothing about this one."""
    if alike.difference(own, other) or own.config["seed"] != other.config["seed"]:
        return ""
    if own.config["method"] != SOURCE_ONLY == other.config["method"]:
        return SOURCE_ONLY
    chosen = own.config["acquisition"], other.config["acquisition"]
    if chosen[0] != RANDOM == chosen[1] and _rest(own) == _rest(other):
        return RANDOM
    return ""


def _rest(record: Record) -> Mapping[str, Any]:
    """The settings that the twin of a run shares with it."""
    return {
        field: value
        for field, value in claim.flat(record.config).items()
        if field not in _OWN and not field.startswith("acquisitions")
    }


def _rounds(folder: pathlib.Path) -> list[Row]:
    """Rows of its finished rounds that have a test accuracy."""
    rows = workdir.read(folder)
    return [
        row
        for row in rows
        if row["event"] == "round" and row["test_accuracy"] is not None
    ]
