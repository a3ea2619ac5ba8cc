"""What the tables say of rows, without any run."""

import json
import pathlib

import numpy as np
import pytest

from dact_jax import config as defaults
from dact_jax.types import Domain, Examples
from experiments import (
    choices,
    choices_page,
    mnist_table,
    picked,
    runs,
    unsupervised,
)


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


@pytest.mark.parametrize(
    ("name", "methods", "seeds"),
    [
        ("choices", [*choices.BUYING, *choices.CHOOSING], 10),
        ("digits_choices", choices.DIGITS, 3),
    ],
)
def test_committed_choices_are_whole(name, methods, seeds):
    path = pathlib.Path("experiments/results", f"{name}.json")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    cells = {(row["method"], row["task"], row["seed"]) for row in rows}
    tasks = {row["task"] for row in rows}
    assert len(cells) == len(rows)
    for method in methods:
        for seed in range(seeds):
            assert {task for task in tasks if (method, task, seed) in cells} == tasks
    bought = {(row["task"], row["labels"][-1]) for row in rows}
    assert len(bought) == len(tasks)  # as many labels in every row of a task


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


def _choice(method, task, seed, last, **columns):
    return {
        "method": method,
        "task": task,
        "seed": seed,
        "labels": [7, 14],
        "test_accuracy": [last - 0.1, last],
        "test_mean_class_accuracy": [last - 0.2, last - 0.05],
        "source_samples": 50,
        "source_pool": 100,
        "branches": {},
        "seconds": 2.0,
        "seconds_selection": {"training": 1.0, "scoring": 0.5, "selecting": 0.5},
        **columns,
    }


CHOICES = [
    _choice("s_act", "a", 0, 0.5, source_variation=0.2),
    _choice("s_act", "b", 0, 0.7, source_variation=0.4),
    _choice("s_act", "a", 1, 0.5),
    _choice("s_act", "b", 1, 0.7),
    _choice("clue", "a", 0, 0.6),
    _choice("clue", "b", 0, 0.9),
    _choice("clue", "a", 1, 0.4),
    _choice("clue", "b", 1, 0.6),
    _choice("d_act, pair, brier", "a", 0, 0.6, branches={"source": 3, "target": 1}),
    _choice("d_act, pair, brier", "b", 0, 0.6, branches={}),
    _choice("badge", "a", 0, 0.6),  # and no other task
]


def test_gaps_are_of_seeds_in_which_both_ran_on_all_tasks():
    gaps = choices.gaps(CHOICES, "clue", "s_act", ["a", "b"])
    assert gaps == {0: pytest.approx(15), 1: pytest.approx(-10)}
    assert choices.gaps(CHOICES, "badge", "s_act", ["a", "b"]) == {}


def test_the_page_of_choices(tmp_path):
    table = choices.Table("Title", "cmd", {"a": (), "b": ()}, (), (), tmp_path / "t")
    runs.write(tmp_path / "t.json", CHOICES)
    (tmp_path / "t_notes.md").write_text("What it means.\n")
    choices_page.write(table)
    text = (tmp_path / "t.md").read_text()
    assert text.startswith("# Title\n\nMade by `cmd --seeds=2`.")
    assert "with 14 target labels bought" in text
    assert "| `clue` | 50.0 ± 14.1 | 75.0 ± 21.2 | 62.5 ± 17.7 |" in text
    assert "| `clue` | 45.0 ± 14.1 | 70.0 ± 21.2 | 57.5 ± 17.7 |" in text
    assert "| `clue` | +2.5 ± 17.7 (1/2) |" in text
    assert "| `s_act` | 50.0 ± 0.0 | 60.0 ± 0.0 |" in text  # 7 and 14 labels
    assert "| `s_act` | 50 % | 0.30 | - |" in text  # of the runs that say so
    assert "| 75 % | 2.0 | 2.0 |" in text
    assert "Seeds: 2; but `d_act, pair, brier` 1." in text
    assert "badge" not in text  # its seed is not whole
    assert text.endswith("What it means.\n")


def test_total_variation_and_outliers():
    assert picked.variation([1, 1], [5, 5]) == 0
    assert picked.variation([2, 0], [0, 3]) == 1
    assert picked.variation([3, 1], [1, 1]) == pytest.approx(0.25)
    line = np.array([0, 1, 2, 3, 50], np.float32).reshape(5, 1, 1, 1)
    domain = Domain("x", Examples(line, np.zeros(5)), None, None, np.arange(5))
    assert picked.apart(domain).tolist() == [0, 0, 0, 0, 0.8]


def test_every_row_of_choices_is_of_fields_that_there_are():
    for preset, fields in choices.METHODS.values():
        config = defaults.load(f"configs/embeddings.py:preset={preset}")
        for field in fields:
            defaults.check_field(field, config)
