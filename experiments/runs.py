"""The runs behind a table: finished once and kept; rows as JSON lines; Markdown."""

import json
import pathlib
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dact_jax
from dact_jax import errors, storage
from experiments import commands

COLUMNS = {  # column of a row that a table may show -> its heading
    "test_accuracy": "last",
    "test_at_best_val": "best by validation",
    "best_test": "best by test",
    "test_mean_class_accuracy": "mean over classes",
}
RESULTS = pathlib.Path(__file__).parent / "results"
_EVERY_STAGE = (  # fields that `shorten` sets where a table does or does not
    "train.steps",
    "train.first_steps",
    "train.chunk",
    "train.save_every",
    "loss_predictor.steps",
)
_IF_GIVEN = ("pretrain.steps", "eval.every")  # 0 or less often by default


METHODS = commands.text("methods", "", "Rows, separated by semicolons; empty: all.")
TASKS = commands.text("tasks", "", "Columns, separated by semicolons; empty: all.")
SIDE = commands.integer(
    "side", 28, "Pixels of a side of the images; 16 for a quick try.", least=16
)
COMMIT = commands.switch(
    "commit", "Write into experiments/results too, whose rows are published."
)
PAGE = commands.switch(
    "page", "Run nothing: only write the page of the rows there are."
)


def flags(results: str, *, seeds: int) -> tuple[commands.Flag, ...]:
    """The flags that the experiments with a table share.

    Args:
      results: name of the files in experiments/results, without suffix.
      seeds: default of --seeds.
    """
    return (
        commands.integer("seeds", seeds, "Runs of each row and column."),
        commands.integer(
            "steps",
            0,
            "Iterations of each stage of training, for a quick try; 0: the table's.",
            least=0,
        ),
        commands.text(
            "results",
            str(RESULTS / results),
            "Files to write, without suffix: .json has a row a run, .md the page.",
        ),
        COMMIT,
    )


def shorten(fields: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """The fields of a config with so many iterations in each stage; 0: as they are."""
    if not steps:
        return dict(fields)
    names = [*_EVERY_STAGE, *(name for name in _IF_GIVEN if name in fields)]
    return {**fields, **dict.fromkeys(names, steps)}


def resize(side: int) -> dict[str, int]:
    """Fields of a config with images of so many pixels a side."""
    return {"data.size": side, "data.crop": side}


def finish(
    spec: str, folder: pathlib.Path, fields: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl of a run's rounds; the run is finished first if needed.

    Args:
      spec: config file and preset, such as "configs/digits.py:preset=alda".
      folder: of the run.
      fields: values by dotted field of the config.
    """
    config = dact_jax.config(spec, figures=False, **fields)
    command = f"python -m dact_jax.main --config={spec}"
    result = dact_jax.run(config, folder, command=command)
    return [row for row in result.rows if row["event"] == "round"]


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; none if there is no file.

    Raises:
      InputError: a line is not a JSON object.
    """
    rows = []
    for number, line in enumerate(storage.read_text(path).splitlines(), start=1):
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            raise errors.InputError(
                f"{path}, line {number} is not a row: restore or delete that line."
            ) from None
    return rows


def write(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows to a file, one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write_atomic(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_page(results: pathlib.Path, parts: Iterable[str]) -> None:
    """Writes <results>.md: the parts, and <results>_notes.md if there is such a file.

    Args:
      results: path without suffix.
      parts: Markdown; a blank line is put between two.
    """
    parts = list(parts)
    notes = results.with_name(f"{results.name}_notes.md")
    if notes.exists():
        parts.append(notes.read_text(encoding="utf-8").strip())
    page = results.with_name(f"{results.name}.md")
    page.parent.mkdir(parents=True, exist_ok=True)
    storage.write_atomic(page, "\n\n".join(parts) + "\n")


def cell(values: Sequence[float]) -> str:
    """Mean ± standard deviation of fractions, in %."""
    if not values:
        return "-"
    percent = [100 * value for value in values]
    return f"{statistics.mean(percent):.1f} ± {deviation(percent):.1f}"


def deviation(values: Sequence[float]) -> float:
    """Standard deviation of a sample; 0 if it has a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    lines = [head, rule, *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_task(
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    tasks: Sequence[str],
    value: Callable[[Mapping[str, Any]], float],
) -> str:
    """A Markdown table: a row a method, a column a task, and the mean over the tasks.

    A cell is mean ± standard deviation over the seeds.

    Args:
      rows: each has "method", "task" and "seed".
      names: the methods, in order.
      tasks: names, in order.
      value: the fraction of a row that is shown.
    """
    body = []
    for name in names:
        of_method = [row for row in rows if row["method"] == name]
        cells = [[value(r) for r in of_method if r["task"] == task] for task in tasks]
        seeds = sorted({row["seed"] for row in of_method})
        means = [
            statistics.mean(value(r) for r in of_method if r["seed"] == seed)
            for seed in seeds
        ]
        body.append([f"`{name}`", *map(cell, cells), cell(means)])
    return table(["method", *tasks, "mean"], body)
