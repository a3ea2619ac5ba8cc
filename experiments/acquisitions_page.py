"""The page and the picture of the table of acquisitions."""

import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import figure

from dact_jax import errors
from dact_jax.reports.pictures import png
from dact_jax.types import Row
from experiments import acquisitions_runs, acquisitions_stats, runs

RANDOM = ("random", "random")  # acquisition and start that all are compared with
RIVALS = (RANDOM, ("clue", "random"), ("random", "herding"))
BAR = 0.9  # share of cells with a positive mean that a default must reach

Name = tuple[str, str]  # acquisition, start


class Cell(NamedTuple):
    task: str
    adaptation: str
    per_class: int


def write(results: pathlib.Path, command: str, rows: Sequence[Row]) -> None:
    """Writes <results>.md and <results>.png.

    Args:
      results: path without suffix.
      command: that makes the table.

    Raises:
      InputError: there is no row.
    """
    if not rows:
        raise errors.InputError(f"{results}.json has no row: run them first.")
    values = by_cell(rows)
    names: list[Name] = [
        tuple(choice)
        for choice in acquisitions_runs.choices(tuple(acquisitions_runs.ACQUISITIONS))
        if any(choice in of_cell for of_cell in values.values())
    ]
    picture = results.with_name(f"{results.name}.png")
    parts = [
        "# Acquisitions and starts, beside random",
        f"Made by `{command}`. Test accuracy with 1, 2, 3, 5 and 10 target labels a "
        "class. A cell is a task, an adaptation and a number of labels; in it, an "
        "acquisition with a start is compared by seed with random labels throughout. "
        "*Better* and *worse* are cells in which an exact sign test over the seeds is "
        f"significant at {acquisitions_stats.LEVEL}, corrected by Holm over the tasks "
        "of the same adaptation and number of labels. Such tests see only what all "
        "seeds agree on: with 10 seeds and 10 tasks a cell counts where no seed "
        "disagrees (one may tie), or one does while nearly all other tasks count; a "
        "cell with 3 seeds never does.",
        _tallies(rows, values, names),
        *(
            f"## {adaptation}\n\nMean difference to random in points, over the tasks, "
            "by the number of labels a class.\n\n"
            + _by_labels(values, names, adaptation)
            for adaptation in acquisitions_runs.ADAPTATIONS
            if any(cell.adaptation == adaptation for cell in values)
        ),
        "## By task\n\nMean difference to random in points, over adaptations and "
        "numbers of labels.\n\n" + _by_task(values, names),
        *_ranks(values, names, picture),
    ]
    runs.write_page(results, parts)


Values = dict[Cell, dict[Name, dict[int, float]]]  # accuracy by cell, name and seed


def by_cell(rows: Sequence[Row]) -> Values:
    """The accuracies of the rows, in [0, 1]."""
    values: Values = {}
    for row in rows:
        name = row["acquisition"], row["start"]
        for per_class, accuracy in zip(
            acquisitions_runs.PER_CLASS, row["test_accuracy"], strict=True
        ):
            cell = Cell(row["task"], row["adaptation"], per_class)
            of_name = values.setdefault(cell, {}).setdefault(name, {})
            of_name[row["seed"]] = accuracy
    return values


def beside(
    values: Values, name: Name, rival: Name
) -> dict[Cell, acquisitions_stats.Paired]:
    """A name beside a rival, in the cells that have both."""
    return {
        cell: acquisitions_stats.paired(of_cell[name], of_cell[rival])
        for cell, of_cell in values.items()
        if of_cell.get(name, {}).keys() & of_cell.get(rival, {}).keys()
    }


def tally(values: Values, name: Name, rival: Name) -> acquisitions_stats.Tally | None:
    """The cells of `beside`, summed up; None: there are none."""
    cells = beside(values, name, rival)
    if not cells:
        return None
    families = [(cell.adaptation, cell.per_class) for cell in cells]
    return acquisitions_stats.tally(list(cells.values()), families)


def _tallies(rows: Sequence[Row], values: Values, names: Sequence[Name]) -> str:
    head = ["acquisition", "start", "mean", "least", "positive", "better", "worse"]
    head += ["minus CLUE", "minus random from a herded start", "s a selection"]
    body = []
    for name in names:
        of_all = [tally(values, name, rival) for rival in RIVALS]
        first, *others = of_all
        seconds = [
            row["seconds_selecting"]
            for row in rows
            if (row["acquisition"], row["start"]) == name
        ]
        cells = ["", "", "", "", ""]
        if first is not None and name != RANDOM:
            reaches = first.positive >= BAR and not first.worse
            share = f"{100 * first.positive:.0f} %"
            cells = [
                _points(first.mean),
                _points(first.least),
                f"**{share}**" if reaches else share,
                f"{first.better}/{first.cells}",
                f"{first.worse}/{first.cells}",
            ]
        rest = ["" if other is None else _points(other.mean) for other in others]
        body.append(
            [f"`{name[0]}`", name[1], *cells, *rest, f"{np.median(seconds):.2f}"]
        )
    return runs.table(head, body)


def _by_labels(values: Values, names: Sequence[Name], adaptation: str) -> str:
    return _means(
        values,
        names,
        [str(number) for number in acquisitions_runs.PER_CLASS],
        lambda cell: str(cell.per_class) if cell.adaptation == adaptation else None,
    )


def _by_task(values: Values, names: Sequence[Name]) -> str:
    tasks = list(dict.fromkeys(cell.task for cell in values))
    return _means(values, names, tasks, lambda cell: cell.task)


def _means(
    values: Values,
    names: Sequence[Name],
    columns: Sequence[str],
    column_of: Callable[[Cell], str | None],
) -> str:
    """Mean differences to random, a row a name."""
    body = []
    for name in names:
        cells = beside(values, name, RANDOM)
        row = [f"`{name[0]}`", name[1]]
        for column in columns:
            of_it = [
                each.mean for cell, each in cells.items() if column_of(cell) == column
            ]
            row.append(_points(float(np.mean(of_it))) if of_it else "")
        body.append(row)
    return runs.table(["acquisition", "start", *columns], body)


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def _ranks(values: Values, names: Sequence[Name], picture: pathlib.Path) -> list[str]:
    """The paragraph of mean ranks, with its picture; none without a whole block."""
    blocks = ranked(values, names)
    if not len(blocks) or len(names) < 2:
        return []
    ranks = acquisitions_stats.mean_ranks(blocks)
    least = acquisitions_stats.critical_difference(len(names), len(blocks))
    draw(names, ranks, least, picture)
    return [
        "## Mean ranks",
        f"Ranks among the {len(names)} combinations, mean over {len(blocks)} pairs of "
        "task and seed, in each of which accuracies are means over adaptations and "
        "numbers of labels; orange: the start is random. Two that lie farther apart "
        "than a bar is wide "
        f"({least:.1f}) differ significantly (Nemenyi's test at "
        f"{acquisitions_stats.LEVEL}; it takes the pairs as independent, which the "
        "seeds of a task are only as far as the task is given).",
        f"![Mean ranks with the critical difference]({picture.name})",
    ]


def ranked(values: Values, names: Sequence[Name]) -> np.ndarray:
    """float[blocks, names], mean accuracies of tasks and seeds that have all names."""
    sums: dict[tuple[str, int], dict[Name, list[float]]] = {}
    for cell, of_cell in values.items():
        for name, by_seed in of_cell.items():
            for seed, accuracy in by_seed.items():
                block = sums.setdefault((cell.task, seed), {})
                block.setdefault(name, []).append(accuracy)
    most = max(len(found) for block in sums.values() for found in block.values())
    whole = [
        block
        for block in sums.values()
        if all(len(block.get(name, ())) == most for name in names)
    ]
    return np.array([[np.mean(block[name]) for name in names] for block in whole])


def draw(
    names: Sequence[Name], ranks: np.ndarray, least: float, path: pathlib.Path
) -> None:
    """Draws the mean ranks, best first, and the critical difference as a bar."""
    order = np.argsort(ranks, kind="stable")
    drawing = figure.Figure(figsize=(7, 1 + 0.24 * len(names)), layout="constrained")
    axes = drawing.subplots()
    place = np.arange(len(names))
    colors = ["C1" if names[i][1] == "random" else "C0" for i in order]
    axes.hlines(place, ranks[order] - least / 2, ranks[order] + least / 2, color="0.8")
    axes.scatter(ranks[order], place, c=colors, zorder=2)
    axes.set_yticks(place, [f"{names[i][0]} ({names[i][1]} start)" for i in order])
    axes.invert_yaxis()
    axes.set_xlabel(f"mean rank, with bars of the critical difference, {least:.1f}")
    axes.spines[["top", "right"]].set_visible(False)
    png.save(drawing, path, dpi=110)
