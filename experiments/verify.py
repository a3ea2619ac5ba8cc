"""Makes published rows again, drawn at random, and says which differ.

Makes: nothing; it prints what it found. The exit code is 1 if a row differs.
Data:  that of the tables, in --data_dir: pacs_features, mnist, usps and mnist_m. Rows
       whose data are missing are told as not verifiable.
Time:  about 25 min on one CPU core for 5 % of all rows.

    python -m experiments.verify --data_dir=data --share=0.05

A row is made again by today's code and compared in all but its times; on another
processor, or with other versions, numbers may differ without a fault. Tables of times
are not made again. For every table it is also said how many rows have the fingerprint
of today's code (`code`): the others may be right, but nothing says so. With --share=0
that is all.
"""

import pathlib
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

from absl.flags import FlagValues

from dact_jax import errors
from dact_jax.types import Row
from experiments import commands, fingerprints, published_rows, runs, tables

_LONGEST = 300  # characters of a column that are shown
_NAMES = (  # columns that name a row
    *("method", "preset", "task", "adaptation", "acquisition", "start"),
    *("config", "precision", "seed"),
)


class Drawn(NamedTuple):
    table: str
    number: int  # of the row in its file, from 1
    row: Row

    def __str__(self) -> str:
        names = [f"{n} {self.row[n]}" for n in _NAMES if n in self.row]
        return f"{self.table}.json, row {self.number} ({', '.join(names)})"


def draw(found: Sequence[Drawn], share: float, seed: int) -> list[Drawn]:
    """That share of the rows, at least one unless it is 0, in their order."""
    count = min(len(found), max(1, round(share * len(found)))) if share else 0
    chosen = random.Random(seed).sample(range(len(found)), count)
    return [found[number] for number in sorted(chosen)]


def outcome(drawn: Drawn, data_dir: str) -> tuple[str, str]:
    """ "same", "differs" or "not verifiable", and why."""
    if drawn.table in fingerprints.TIMED:
        return "not verifiable", "its numbers are times or memory"
    if drawn.row.get("settings"):
        return "not verifiable", "it was made with other flags than the table"
    try:
        with tempfile.TemporaryDirectory() as folder:
            places = tables.Places(data_dir, pathlib.Path(folder))
            tables.modules(drawn.table, drawn.row)  # is anything known of it?
            made = tables.TABLES[drawn.table].again(drawn.row, places)
    except errors.InputError as error:
        return "not verifiable", str(error).rstrip(".")
    found = tables.differences(drawn.row, made)
    if not found:
        return "same", ""
    return "differs", "; ".join(
        f"{name} was {_short(old)} and is {_short(new)}"
        for name, (old, new) in found.items()
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def current(found: Sequence[Drawn]) -> str:
    """How many rows of a table have the fingerprint of today's code, a sentence."""
    known = [one for one in found if one.row.get("code")]
    now = 0
    for one in known:
        try:
            now += one.row["code"] == tables.fingerprint(one.table, one.row)
        except errors.InputError:
            continue  # it can no longer be made
    text = f"{now} of {len(found)} rows have the fingerprint of today's code"
    without = len(found) - len(known)
    return text + (f", {without} have none." if without else ".")


def _rows(names: Sequence[str]) -> list[Drawn]:
    return [
        Drawn(name, number, row)
        for name in names
        for number, row in enumerate(published_rows.read(name), 1)
    ]


@commands.command(
    __doc__,
    commands.text("data_dir", "data", "Folder of the data."),
    commands.number("share", 0.05, "Share of all rows that are made again."),
    commands.integer("draw", -1, "Seed of the draw; -1: another each time.", least=-1),
    commands.text("tables", "", "Files, separated by semicolons; empty: all."),
)
def main(flags: FlagValues) -> None:
    """Makes the drawn rows again, and prints what differs."""
    if flags.share > 1:
        raise errors.InputError(f"--share={flags.share} must be at most 1.")
    known = [path.stem for path in sorted(runs.RESULTS.glob("*.json"))]
    names = commands.selected(flags.tables, known, "tables")
    found = _rows(names)
    for name in names:
        of_table = [one for one in found if one.table == name]
        print(f"{name}.json: {current(of_table)}", flush=True)
    seed = flags.draw if flags.draw >= 0 else random.SystemRandom().randrange(10**6)
    chosen = draw(found, flags.share, seed)
    print(f"{len(chosen)} of {len(found)} rows are made again (--draw={seed}).")
    results: list[str] = []
    for one in chosen:
        began = time.monotonic()
        result, reason = outcome(one, flags.data_dir)
        results.append(result)
        why = f": {reason}" if reason else ""
        print(f"{one}: {result}{why} ({time.monotonic() - began:.0f} s)", flush=True)
    counts = {name: results.count(name) for name in ("same", "differs")}
    print(
        f"Of {len(results)} rows {counts['same']} are the same and "
        f"{counts['differs']} differ; {results.count('not verifiable')} are not "
        "verifiable."
    )
    if counts["differs"]:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv)
