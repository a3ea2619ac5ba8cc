"""What the tables say of rows, without any run."""

import json
import pathlib

import numpy as np
import pytest

from dact_jax.configuration import defaults, files
from dact_jax.types import Domain, Examples
from experiments import (
    bench_selection,
    choices,
    choices_page,
    mnist_table,
    picked,
    runs,
    selection_contestants,
    selection_data,
    selection_process,
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
    made = files.load(f"{config}:preset={preset}")
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
        config = files.load(f"configs/embeddings.py:preset={preset}")
        for field in fields:
            defaults.check_field(field, config)


def _entry(seconds, ratio, **differs):
    return {
        "seconds": seconds,
        "ratio": ratio,
        "estimated": False,
        "first_s": 2.5,
        "warm_s": [seconds],
        "memory_mb": 180.4,
        "memory_before_mb": 60.0,
        "picks": 1000,
        "equal": 1000,
        "radius": 3.0,
        "gap": 0.0,
        "agrees": True,
        **differs,
    }


SELECTION = {
    "data": "mixture",
    "rows": 60000,
    "width": 512,
    "budget": 1000,
    "cores": 1,
    "platform": "cpu",
    "cpu": "Some CPU",
    "cpu_cores": 2,
    "repeats": 5,
    "rounds": 1,
    "device": "cpu",
    "versions": {"python": "3.12", "numpy": "2.4", "torch": None},
    "bytes_per_s": 12e9,
    "flop_per_s": 80e9,
    "floor_s": 10.24,
    "floor_to_ours": 17.07,
    "peak_share": 1.28,
    "contestants": {
        "ours": _entry(0.6, None),
        "numpy": _entry(23.4, 39.0, equal=998, gap=1e-3, agrees=False),
        "jax": {"failed": "exit -9"},
        "skactiveml": _entry(180, 300, estimated=True, first_s=None, picks=60, equal=3),
    },
}


def test_the_page_of_selections(tmp_path):
    path = tmp_path / "selection.json"
    runs.write(path, [SELECTION, {**SELECTION, "cores": 2}])
    (tmp_path / "selection_notes.md").write_text("What it means.\n")
    bench_selection.main(["--table", f"--output={path}"])
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    where = "| mixture | 60,000 | 512 | 1,000 |"
    assert f"{where} 0.60 | 23.4 (39×) differs | failed | ~180 (~300×) |" in text
    assert f"{where} 12.0 | 10.2 | 17× | 80.0 | 128 % |" in text
    assert f"{where} 2.50 s, 120 MB | 2.50 s, 120 MB | failed | ≥120 MB |" in text
    assert f"{where} 99.8 % differs | failed | 5 % of 60 |" in text
    assert "## Some CPU, 1 of 2 cores" in text
    assert "--budget=PICKS --cores=2 --repeats=5`" in text
    assert "python 3.12, numpy 2.4." in text  # what is not there is not named
    assert text.endswith("What it means.\n")


def test_seconds_are_extrapolated_on_a_line():
    # 0.5 s beside 0.1 s a pick.
    assert selection_process.extrapolate(2.5, 6.5, (20, 60), 1000) == pytest.approx(
        100.5
    )
    # Noise: no more for more picks.
    assert selection_process.extrapolate(3, 3, (20, 60), 120) == pytest.approx(6)


def test_a_contestant_is_summed_up_over_its_processes():
    said = [
        {**_entry(0, 0), "warm_s": [1.0, 2.0, 9.0], "gap": 0.0},
        {**_entry(0, 0), "warm_s": [3.0, 4.0], "gap": 2e-4, "equal": 7},
    ]
    found = bench_selection.summary(said, 0.5)
    assert (found["seconds"], found["ratio"]) == (3.0, 6.0)
    assert (found["equal"], found["agrees"]) == (7, False)
    assert bench_selection.summary([*said, {"failed": "exit 1"}], 0.5) == {
        "failed": "exit 1"
    }


def test_a_cell_that_is_there_is_not_repeated():
    job = {key: SELECTION[key] for key in bench_selection.CELL}
    names = ["ours", "numpy", "torch"]
    assert bench_selection.missing([SELECTION], job, names) == ["torch"]
    assert bench_selection.missing([{**SELECTION, "cores": 2}], job, names) == names


@pytest.mark.parametrize("data", selection_data.DRAWN)
def test_contestants_pick_the_same_rows(data):
    points = selection_data.draw(data, 300, 16, seed=1)
    kept = points.copy()
    picks = {
        name: selection_contestants.CONTESTANTS[name](points, 25)
        for name in ("ours", "numpy", "jax")
    }
    assert picks["ours"][0] == 0
    assert picks["numpy"].tolist() == picks["ours"].tolist()
    assert picks["jax"].tolist() == picks["ours"].tolist()
    np.testing.assert_array_equal(points, kept)
    away = np.linalg.norm(points[:, None] - points[None, picks["ours"]], axis=-1)
    radius = selection_data.cover_radius(points, picks["ours"])
    assert radius == pytest.approx(away.min(-1).max(), rel=1e-5)


def test_loops_pick_no_row_twice():
    points = np.repeat(np.eye(3, dtype=np.float32), 3, axis=0)
    for name in ("numpy", "jax"):
        picks = selection_contestants.CONTESTANTS[name](points, 9)
        assert sorted(picks.tolist()) == list(range(9))


def test_features_of_a_file_or_a_folder(tmp_path):
    points = np.arange(12, dtype=np.float16).reshape(4, 3)
    np.savez(tmp_path / "a.npz", features=points[:3])
    np.savez(tmp_path / "b.npz", features=points[3:])
    np.save(tmp_path / "c.npy", points)
    for path in (tmp_path, tmp_path / "c.npy"):
        found = selection_data.read(path)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, points.astype(np.float32))
    assert selection_data.shape("pacs", 2, 512, tmp_path) == (2, 3)
    assert selection_data.shape("noise", None, 7, None) == (60_000, 7)


def test_a_process_tells_how_far_its_picks_are_from_ours(tmp_path):
    job = {
        "data": "mixture",
        "rows": 200,
        "width": 8,
        "features": None,
        "contestant": "numpy",
        "budget": 70,
        "repeats": 2,
        "limit": 1e9,
        "short": None,
        "picks": str(tmp_path / "ours.npy"),
        "reference": None,
        "radius": None,
    }
    whole = selection_process.contestant(job)
    assert len(whole["warm_s"]) == 2
    assert not whole["estimated"]
    job |= {"reference": job["picks"], "radius": whole["radius"]}
    job["picks"] = str(tmp_path / "numpy.npy")
    short = selection_process.contestant({**job, "short": (20, 60)})
    assert short["estimated"]
    assert (short["picks"], short["equal"], short["gap"]) == (60, 60, 0.0)
    np.save(job["reference"], np.arange(70))
    other = selection_process.contestant({**job, "radius": 2 * whole["radius"]})
    assert other["equal"] < 70
    assert other["gap"] == pytest.approx(0.5)
