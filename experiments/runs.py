"""Runs behind a table: in this process, kept, and never repeated."""

import json
import pathlib
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dact_jax

COLUMNS = {  # what a table may show of a run -> its heading
    "test_accuracy": "last",
    "test_at_best_val": "best by validation",
    "best_test": "best by test",
    "test_mean_class_accuracy": "mean over classes",
}


def finish(
    spec: str, folder: pathlib.Path, fields: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The rows of the rounds of a run, which is done first if it is not there.

    Args:
      spec: such as "configs/digits.py:preset=alda".
      folder: of the run.
      fields: dotted field of the config -> value.
    """
    config = dact_jax.config(spec, figures=False, **fields)
    command = f"python -m dact_jax.main --config={spec}"
    result = dact_jax.run(config, folder, command=command)
    return [row for row in result.rows if row["event"] == "round"]


def write(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def cell(values: Sequence[float]) -> str:
    """Mean +- standard deviation of fractions, in %."""
    if not values:
        return "-"
    percent = [100 * value for value in values]
    return f"{statistics.mean(percent):.1f} ± {deviation(percent):.1f}"


def deviation(values: Sequence[float]) -> float:
    """The sample's standard deviation; 0 of one value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Markdown; all columns but the first stand to the right."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    lines = [head, rule, *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_task(
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    tasks: Sequence[str],
    value: Callable[[Mapping[str, Any]], float],
) -> str:
    """A row a method, a column a task and their mean, over the seeds.

    Args:
      rows: each has "method", "task" and "seed".
      names: methods, in order.
      tasks: in order.
      value: what of a row is shown, a fraction.
    """
    body = []
    for name in names:
        mine = [row for row in rows if row["method"] == name]
        cells = [[value(r) for r in mine if r["task"] == task] for task in tasks]
        seeds = sorted({row["seed"] for row in mine})
        means = [
            statistics.mean(value(r) for r in mine if r["seed"] == seed)
            for seed in seeds
        ]
        body.append([f"`{name}`", *map(cell, cells), cell(means)])
    return table(["method", *tasks, "mean"], body)
