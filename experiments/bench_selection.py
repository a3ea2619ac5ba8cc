"""The time of greedy k-center: dact_jax beside NumPy, JAX, PyTorch, scikit-activeml.

Makes: experiments/results/selection.json, a row for each size of the points; with
       --table, selection.md, the page of all rows.
Data:  none for --data=mixture, noise and power, which are drawn; otherwise --features.
Time:  2 min on 1 CPU core for the first command, with the NumPy and JAX contestants.

    python -m experiments.bench_selection --data=mixture --rows=60000 --width=512 \\
        --budget=1000 --cores=1
    python -m experiments.bench_selection --data=pacs --features=data/pacs_features
    python -m experiments.bench_selection --table

Lists, such as --rows=10000,60000, make a grid. A row that is in the file already is not
measured again; contestants that it lacks are measured, with ours beside them. Each
contestant runs in a process of its own: a first call compiles, and the following warm
ones count. A call takes an array on the host and returns picks on the host. Contestants
that would take longer than --limit seconds, or more memory than there is, are timed
for a few picks and extrapolated linearly; the page marks them with `~`.

The exit code is 1 if a contestant failed, or if the cover radius of its picks differs
from that of ours.
"""

import importlib.util
import itertools
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence

from absl.flags import FlagValues

from dact_jax import errors
from dact_jax.types import Row
from experiments import (
    commands,
    fingerprints,
    machine,
    published,
    runs,
    selection_data,
    selection_process,
    selection_row,
    selection_table,
)
from experiments.selection_row import Job

NAMES = ("ours", "numpy", "jax", "torch", "skactiveml")
COPIES = 3  # arrays as large as the points that must fit into memory


def installed(names: Iterable[str]) -> list[str]:
    """The contestants whose package is installed, ours first."""
    present = ["ours"]
    for name in names:
        if name != "ours" and importlib.util.find_spec(name):
            present.append(name)
        elif name != "ours":
            print(f"{name} is not installed: left out.", file=sys.stderr)
    return present


def jobs(flags: FlagValues) -> Iterator[Job]:
    """The jobs of the grid; sizes that are impossible or too large are left out."""
    features = pathlib.Path(flags.features).resolve() if flags.features else None
    settings = {
        **machine.described(),
        "code": fingerprints.of_timed("selection"),
        **{key: flags[key].value for key in _SETTINGS},
        "features": features and str(features),
    }
    grid = itertools.product(
        flags.data,
        _integers(flags.width, "width"),
        _integers(flags.rows, "rows"),
        _integers(flags.budget, "budget"),
    )
    done = set()
    for data, width, rows, budget in grid:
        rows, width = selection_data.shape(data, rows or None, width, features)
        cell = {"data": data, "rows": rows, "width": width, "budget": budget}
        name = _title(cell)
        if tuple(cell.values()) in done:
            continue
        done.add(tuple(cell.values()))
        if budget >= rows:
            print(f"{name}: left out, no points remain.", file=sys.stderr)
        elif COPIES * 4 * rows * width > 0.9 * selection_row.physical_memory():
            print(f"{name}: left out, too large for memory.", file=sys.stderr)
        else:
            yield {**cell, **settings}


def _title(cell: Job) -> str:
    return "{data} {rows} x {width}, budget {budget}".format(**cell)


def missing(rows: Sequence[Row], job: Job, names: Sequence[str]) -> list[str]:
    """The contestants that no row with the job's sizes has."""
    same = [
        row for row in rows if all(row[key] == job[key] for key in selection_row.CELL)
    ]
    present = {name for row in same for name in row["contestants"]}
    return [name for name in names if name not in present]


_SETTINGS = ("cores", "platform", "repeats", "limit", "pass_rows", "product")


def _integers(texts: Sequence[str], flag: str) -> list[int]:
    if not all(text.strip().isdecimal() for text in texts):
        raise errors.InputError(f"--{flag}={','.join(texts)} must be integers.")
    return [int(text) for text in texts]


def fill(
    output: pathlib.Path, rows: list[Row], names: Sequence[str], flags: FlagValues
) -> int:
    """Measures the rows that the file lacks; how many contestants failed or differ.

    Args:
      output: the file, written after each row.
      rows: those that it has.
      names: contestants, ours first.

    Raises:
      InputError: the file must not be written.
    """
    wrong = 0
    with selection_row.bound(flags.cores):
        for job in jobs(flags):
            absent = missing(rows, job, names)
            if not absent:
                print(f"{output} has the row of {_title(job)} already.")
                continue
            published.check_writable(output, flags, flag="output")
            row = selection_row.measure(
                job, sorted({"ours", *absent}, key=NAMES.index), flags.rounds
            )
            rows.append(row)
            runs.write(output, rows)
            entries = row["contestants"].values()
            wrong += sum(not entry.get("agrees", False) for entry in entries)
            print(selection_table.seconds([row]), flush=True)
    return wrong


@commands.command(
    __doc__,
    commands.words(
        "data", ["mixture"], f"{', '.join(selection_data.DRAWN)}; or a name."
    ),
    commands.text("features", "", "A .npy, an .npz or a folder of them, for a name."),
    commands.words("rows", ["0"], "Numbers of points; 0: 60000, or all of the file."),
    commands.words("width", ["512"], "Dimensions; a file has its own."),
    commands.words("budget", ["1000"], "Numbers of picks."),
    commands.words("contestants", NAMES, "Contestants; ours always takes part."),
    commands.integer("repeats", 5, "Warm calls in each process."),
    commands.integer("rounds", 1, "Processes of each contestant, started in turn."),
    commands.integer("cores", 1, "CPU cores to which all processes are bound."),
    commands.choice("platform", "cpu", ("cpu", "gpu"), "For ours, jax and torch."),
    commands.number("limit", 300.0, "Seconds of a call, above which it is estimated."),
    commands.integer(
        "pass_rows",
        selection_process.PASS_ROWS,
        "Rows of width 512 that are read to measure the memory bandwidth.",
    ),
    commands.integer(
        "product",
        selection_process.PRODUCT,
        "Side of the matrices whose product measures the peak.",
    ),
    commands.text("output", str(runs.RESULTS / "selection.json"), "JSON lines."),
    runs.COMMIT,
    commands.switch("table", "Measure nothing: only write the page of all rows."),
)
def main(flags: FlagValues) -> None:
    """Measures what is missing of the grid, or writes the page."""
    for name in flags.contestants:
        errors.check_choice("--contestants", name, NAMES)
    output = pathlib.Path(flags.output)
    rows = runs.read(output)
    if flags.table:
        published.check_writable(output, flags, flag="output")
        selection_table.write(output, rows)
        return
    wrong = fill(output, rows, installed(flags.contestants), flags)
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv)
