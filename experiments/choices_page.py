"""The page of a table of `choices`: accuracies, paired differences, what was picked."""

import collections
import statistics
from collections.abc import Sequence

from dact_jax import errors
from dact_jax.types import Row
from experiments import choices, runs

RIVALS = ("s_act", "s_rt", "r_act, brier")  # every row is compared with these
_HEADS = {  # column of a row -> heading, which _PICKS explains
    "source_variation": "N, source",
    "source_to_target": "N, target",
    "target_variation": "T_l, target",
    "unseen_classes": "unseen classes",
    "target_apart": "apart",
}


def write(table: choices.Table, rows: Sequence[Row]) -> None:
    """Writes <results>.md from the rows of the table.

    Raises:
      InputError: no method has a row for each task.
    """
    tasks = [task for task in table.tasks if any(row["task"] == task for row in rows)]
    rows = _complete([row for row in rows if row["task"] in tasks], len(tasks))
    if not rows:
        raise errors.InputError(
            f"{choices.rows_path(table)} has no row of these tasks: run them first."
        )
    present = {row["method"] for row in rows}
    methods = [name for name in choices.METHODS if name in present]
    labels = sorted({row["labels"][-1] for row in rows})
    seeds = len({row["seed"] for row in rows})
    parts = [
        f"# {table.title}",
        f"Made by `{table.command} --seeds={seeds}`. Test accuracy in % of the last "
        f"network, with {' or '.join(map(str, labels))} target labels bought (the "
        "validation labels, by which R_AcT and D_AcT decide, are not counted): mean ± "
        "standard deviation over the seeds; `mean` is over the tasks, its deviation "
        "over the seeds." + _seeds(rows, methods),
        runs.by_task(rows, methods, tasks, lambda row: row["test_accuracy"][-1]),
        "## Paired differences\n\nPoints by which a method is above another with the "
        "same seeds, mean over the tasks ± standard deviation over the seeds; in "
        "parentheses, in how many seeds it is above.",
        _differences(rows, methods, tasks),
        "## Each class counting the same\n\nMean of the accuracies of the classes, of "
        "the last network.",
        runs.by_task(
            rows, methods, tasks, lambda row: row["test_mean_class_accuracy"][-1]
        ),
        "## By the number of labels\n\nMean over the tasks ± standard deviation over "
        "the seeds.",
        _by_labels(rows, methods),
        _PICKS,
        _picks(rows, methods),
    ]
    runs.write_page(table.results, parts)


def _complete(rows: Sequence[Row], num_tasks: int) -> list[Row]:
    """The rows of the seeds for which a method has all tasks."""
    count = collections.Counter((row["method"], row["seed"]) for row in rows)
    return [r for r in rows if count[r["method"], r["seed"]] == num_tasks]


def _seeds(rows: Sequence[Row], methods: Sequence[str]) -> str:
    """A sentence that names the methods with fewer seeds than others, or ""."""
    count = {
        name: len({row["seed"] for row in rows if row["method"] == name})
        for name in methods
    }
    most = max(count.values())
    fewer = [f"`{name}` {n}" for name, n in count.items() if n < most]
    return f" Seeds: {most}; but {', '.join(fewer)}." if fewer else ""


def _differences(
    rows: Sequence[Row], methods: Sequence[str], tasks: Sequence[str]
) -> str:
    rivals = [name for name in RIVALS if name in methods]
    body = []
    for name in methods:
        cells = []
        for rival in rivals:
            gaps = list(choices.gaps(rows, name, rival, tasks).values())
            cells.append(_gap(gaps) if name != rival and gaps else "")
        body.append([f"`{name}`", *cells])
    return runs.table(["method", *(f"minus `{name}`" for name in rivals)], body)


def _gap(gaps: Sequence[float]) -> str:
    above = sum(gap > 0 for gap in gaps)
    return (
        f"{statistics.mean(gaps):+.1f} ± {runs.deviation(gaps):.1f} "
        f"({above}/{len(gaps)})"
    )


def _by_labels(rows: Sequence[Row], methods: Sequence[str]) -> str:
    counts = sorted({count for row in rows for count in row["labels"]})
    body = []
    for name in methods:
        of_method = [row for row in rows if row["method"] == name]
        seeds = sorted({row["seed"] for row in of_method})
        cells = []
        for index in range(len(counts)):
            means = [
                statistics.mean(
                    row["test_accuracy"][index]
                    for row in of_method
                    if row["seed"] == seed
                )
                for seed in seeds
            ]
            cells.append(runs.cell(means))
        body.append([f"`{name}`", *cells])
    return runs.table(["method", *(f"{count} labels" for count in counts)], body)


_PICKS = """## What was kept and picked

Means over the runs whose rows have the column.

* share: part of the source that is trained on.
* N, source; N, target; T_l, target: total variation between the class frequencies of
  the kept source N, the bought labels T_l, and the whole source or target pool (0: the
  same frequencies, 1: no class in common).
* unseen classes: number of classes without a bought label.
* apart: share of the pool whose nearest neighbor is nearer than that of a bought image
  (0.5: usual, 1: outliers).
* for the source: share of the decisions in favor of source samples.
* s, s choosing: seconds of training the classifier, and of everything that chooses, on
  one busy CPU core."""


def _picks(rows: Sequence[Row], methods: Sequence[str]) -> str:
    body = []
    for name in methods:
        of_method = [row for row in rows if row["method"] == name]
        share = statistics.mean(
            r["source_samples"] / r["source_pool"] for r in of_method
        )
        cells = [f"{100 * share:.0f} %"]
        for column in _HEADS:
            values = [row[column] for row in of_method if column in row]
            cells.append(f"{statistics.mean(values):.2f}" if values else "-")
        decisions = sum(sum(row["branches"].values()) for row in of_method)
        source = sum(row["branches"].get("source", 0) for row in of_method)
        cells.append(f"{100 * source / decisions:.0f} %" if decisions else "-")
        selecting = [sum(row["seconds_selection"].values()) for row in of_method]
        cells.append(f"{statistics.median(row['seconds'] for row in of_method):.1f}")
        cells.append(f"{statistics.median(selecting):.1f}")
        body.append([f"`{name}`", *cells])
    head = ["method", "share", *_HEADS.values(), "for the source", "s", "s choosing"]
    return runs.table(head, body)
