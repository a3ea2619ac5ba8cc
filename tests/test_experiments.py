"""What the tables say of rows, without any run."""

import json
import pathlib

import pytest

from dact_jax import config as defaults
from experiments import mnist_table, runs, unsupervised


def _row(method, task, seed, accuracy):
    values = {name: accuracy + i / 100 for i, name in enumerate(runs.COLUMNS)}
    return {"method": method, "task": task, "seed": seed, **values}


ROWS = [
    _row("source_only", "a → b", 0, 0.40),
    _row("source_only", "a → b", 1, 0.60),
    _row("source_only", "b → a", 0, 0.80),
    _row("source_only", "b → a", 1, 0.70),
    _row("dann", "a → b", 0, 0.9),
    _row("dann", "b → a", 0, 0.7),
]


def test_a_cell_is_mean_and_sample_deviation_in_percent():
    assert runs.cell([0.4, 0.6]) == "50.0 ± 14.1"
    assert runs.cell([0.25]) == "25.0 ± 0.0"
    assert runs.cell([]) == "-"


def test_the_mean_over_tasks_deviates_over_seeds():
    text = runs.by_task(
        ROWS, ("source_only", "dann"), ("a → b", "b → a"), lambda r: r["test_accuracy"]
    )
    head, rule, source, dann = text.splitlines()
    assert head == "| method | a → b | b → a | mean |"
    assert rule == "| --- | ---: | ---: | ---: |"
    # Seeds have the means 60 and 65 %.
    assert source == "| `source_only` | 50.0 ± 14.1 | 75.0 ± 7.1 | 62.5 ± 3.5 |"
    assert dann == "| `dann` | 90.0 ± 0.0 | 70.0 ± 0.0 | 80.0 ± 0.0 |"


def test_a_page_has_every_column_under_its_name(tmp_path):
    runs.write(tmp_path / "x.json", ROWS)
    (tmp_path / "x_notes.md").write_text("Some notes.\n")
    table = unsupervised.Table(
        title="A title",
        command="python -m this",
        results=tmp_path / "x",
        config="",
        tasks={"a → b": {}, "b → a": {}},
        seeds=2,
        methods=("source_only", "dann"),
        root=tmp_path,
    )
    unsupervised.write_page(table)
    text = (tmp_path / "x.md").read_text(encoding="utf-8")
    assert text.startswith("# A title\n")
    assert "over 2 seeds" in text
    assert text.endswith("Some notes.\n")
    for heading in runs.COLUMNS.values():
        assert f"## {heading.capitalize()}" in text
    assert "| 51.0 ± 14.1 |" in text  # the second column's own numbers


@pytest.mark.parametrize("method", unsupervised.METHODS)
@pytest.mark.parametrize("config", ["configs/embeddings.py", "configs/svhn_mnist.py"])
def test_every_row_of_a_table_is_a_config(config, method):
    preset, differs = unsupervised.METHODS[method]
    made = defaults.load(f"{config}:preset={preset}")
    shared = unsupervised.ON_VECTORS if "embeddings" in config else mnist_table.SHARED
    made.update_from_flattened_dict({**shared, **differs})
    defaults.check(made)
    assert made.policy == "fixed"
    assert not made.data.shots_per_class


@pytest.mark.parametrize("name", ["embeddings", "mnist", "digits"])
def test_committed_rows_are_whole(name):
    path = pathlib.Path("experiments/results", f"{name}.json")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kind = "preset" if name == "digits" else "method"
    seeds = {row["seed"] for row in rows}
    cells = {(row[kind], row.get("task"), row["seed"]) for row in rows}
    methods = {row[kind] for row in rows}
    tasks = {row.get("task") for row in rows}
    assert "source_only" in methods
    assert len(cells) == len(rows) == len(methods) * len(tasks) * len(seeds)
