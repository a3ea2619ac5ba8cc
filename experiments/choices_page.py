"""The page of a table of `choices`: accuracies, paired differences, what was picked."""

import collections
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import choices, runs

Row = Mapping[str, Any]

RIVALS = ("s_act", "s_rt", "r_act, brier")  # with whom every row is compared
_HEADS = {  # column of a row -> heading; what they mean is said above the table
    "source_variation": "N, source",
    "source_to_target": "N, target",
    "target_variation": "T_l, target",
    "unseen_classes": "unseen classes",
    "target_apart": "apart",
}


def write(table: choices.Table) -> None:
    """Writes <results>.md of the rows that there are."""
    rows = choices.read(table)
    tasks = [task for task in table.tasks if any(row["task"] == task for row in rows)]
    rows = _whole(rows, len(tasks))
    found = {row["method"] for row in rows}
    methods = [name for name in choices.METHODS if name in found]
    labels = sorted({row["labels"][-1] for row in rows})
    seeds = len({row["seed"] for row in rows})
    parts = [
        f"# {table.title}",
        f"Made by `{table.command} --seeds={seeds}`. Test accuracy in % of the last "
        f"network, with {' or '.join(map(str, labels))} target labels bought (those of "
        "the validation images, which R_AcT and D_AcT decide by, come on top): mean ± "
        "standard deviation over the seeds; `mean` is over the tasks, its deviation "
        "over the seeds." + _seeds(rows, methods),
        runs.by_task(rows, methods, tasks, lambda row: row["test_accuracy"][-1]),
        "## Paired differences\n\nPoints by which a row is above another with the same "
        "seeds, mean over the tasks ± standard deviation over the seeds; in brackets "
        "in how many seeds it is above.",
        _differences(rows, methods, tasks),
        "## Each class counting the same\n\nMean over the classes of each one's "
        "accuracy, of the last network.",
        runs.by_task(
            rows, methods, tasks, lambda row: row["test_mean_class_accuracy"][-1]
        ),
        "## By the number of labels\n\nMean over the tasks ± standard deviation over "
        "the seeds.",
        _by_labels(rows, methods),
        _LOOKS,
        _looks(rows, methods),
    ]
    notes = table.results.with_name(f"{table.results.name}_notes.md")
    if notes.exists():
        parts.append(notes.read_text(encoding="utf-8").strip())
    text = "\n\n".join(parts) + "\n"
    table.results.with_suffix(".md").write_text(text, encoding="utf-8")


def _whole(rows: Sequence[Row], num_tasks: int) -> list[Row]:
    """The rows of seeds that a method ran with on all tasks."""
    count = collections.Counter((row["method"], row["seed"]) for row in rows)
    return [r for r in rows if count[r["method"], r["seed"]] == num_tasks]


def _seeds(rows: Sequence[Row], methods: Sequence[str]) -> str:
    """Which methods ran with fewer seeds than others."""
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
        mine = [row for row in rows if row["method"] == name]
        seeds = sorted({row["seed"] for row in mine})
        cells = []
        for place, _ in enumerate(counts):
            means = [
                statistics.mean(
                    row["test_accuracy"][place] for row in mine if row["seed"] == seed
                )
                for seed in seeds
            ]
            cells.append(runs.cell(means))
        body.append([f"`{name}`", *cells])
    return runs.table(["method", *(f"{count} labels" for count in counts)], body)


_LOOKS = """## What was kept and picked

Means over the runs that say so. Share: of the source that is trained on. Total
variation (0: classes in the same proportions, 1: none in common) between N and the
source, N and the target's pool, the bought labels T_l and the target's pool. Unseen
classes: without a bought label. Apart: share of the pool whose nearest neighbour is
nearer than that of a bought image (0.5: usual; 1: outliers). For the source: how many
of the decisions. Seconds on one busy CPU core: training of the classifier, and all that
chooses."""


def _looks(rows: Sequence[Row], methods: Sequence[str]) -> str:
    body = []
    for name in methods:
        mine = [row for row in rows if row["method"] == name]
        share = statistics.mean(r["source_samples"] / r["source_pool"] for r in mine)
        cells = [f"{100 * share:.0f} %"]
        for column in _HEADS:
            known = [row[column] for row in mine if column in row]
            cells.append(f"{statistics.mean(known):.2f}" if known else "-")
        decided = sum(sum(row["branches"].values()) for row in mine)
        source = sum(row["branches"].get("source", 0) for row in mine)
        cells.append(f"{100 * source / decided:.0f} %" if decided else "-")
        chosen = [sum(row["seconds_selection"].values()) for row in mine]
        cells.append(f"{statistics.median(row['seconds'] for row in mine):.1f}")
        cells.append(f"{statistics.median(chosen):.1f}")
        body.append([f"`{name}`", *cells])
    head = ["method", "share", *_HEADS.values(), "for the source", "s", "s choosing"]
    return runs.table(head, body)
