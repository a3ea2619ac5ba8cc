"""Experiments: each command at its smallest size, --help, and the pages of rows."""

import importlib
import json
import pathlib
import re
import sys

import numpy as np
import pytest
from PIL import Image

from dact_jax.configuration import defaults, files
from dact_jax.models import backbones
from dact_jax.types import Domain, Examples
from experiments import (
    bench_selection,
    choices,
    choices_page,
    mnist_table,
    picked,
    pool_scale,
    runs,
    selection_contestants,
    selection_data,
    selection_process,
    selection_row,
    startup,
    unsupervised,
)
from tests.embedding import tiny

TEXTS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in pathlib.Path("experiments").glob("[!_]*.py")
}
COMMANDS = sorted(name for name in TEXTS if '__name__ == "__main__"' in TEXTS[name])


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
    unsupervised.write_page(table, ROWS)
    text = (tmp_path / "x.md").read_text(encoding="utf-8")
    assert text.startswith("# A title\n")
    assert "`python -m this --seeds=2`" in text
    assert text.endswith("Some notes.\n")
    headings = re.findall("^## (.*)", text, re.MULTILINE)
    assert headings == [heading.capitalize() for heading in runs.COLUMNS.values()]
    tables = _tables(text)
    assert tables[0]["`source_only`"][0] == "50.0 ± 14.1"
    assert tables[1]["`source_only`"][0] == "51.0 ± 14.1"  # of the second column


@pytest.mark.parametrize("method", unsupervised.METHODS)
@pytest.mark.parametrize("config", ["configs/embeddings.py", "configs/svhn_mnist.py"])
def test_every_row_of_a_table_is_a_config(config, method):
    preset, differs = unsupervised.METHODS[method]
    shared = unsupervised.ON_VECTORS if "embeddings" in config else mnist_table.SHARED
    complete = files.load(f"{config}:preset={preset}", **{**shared, **differs})
    defaults.check(complete)
    assert complete.policy == "fixed"
    assert not complete.data.shots_per_class


@pytest.mark.parametrize(
    ("name", "methods", "seeds"),
    [
        ("choices", [*choices.BUYING, *choices.CHOOSING], 10),
        ("digits_choices", choices.DIGITS, 3),
    ],
)
def test_committed_choices_have_every_row(name, methods, seeds):
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
def test_committed_tables_have_every_row(name):
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


def test_gaps_leave_out_seeds_that_lack_a_task():
    gaps = choices.gaps(CHOICES, "clue", "s_act", ["a", "b"])
    assert gaps == {0: pytest.approx(15), 1: pytest.approx(-10)}
    assert choices.gaps(CHOICES, "badge", "s_act", ["a", "b"]) == {}


def test_the_page_of_choices(tmp_path):
    table = choices.Table("Title", "cmd", {"a": (), "b": ()}, (), (), tmp_path / "t")
    (tmp_path / "t_notes.md").write_text("What it means.\n")
    choices_page.write(table, CHOICES)
    text = (tmp_path / "t.md").read_text()
    assert text.startswith("# Title\n")
    assert "`cmd --seeds=2`" in text
    assert "14 target labels" in text
    last, differences, by_class, by_labels, picks = _tables(text)
    assert last["`clue`"] == ["50.0 ± 14.1", "75.0 ± 21.2", "62.5 ± 17.7"]
    assert by_class["`clue`"] == ["45.0 ± 14.1", "70.0 ± 21.2", "57.5 ± 17.7"]
    assert differences["`clue`"][0] == "+2.5 ± 17.7 (1/2)"
    assert by_labels["method"] == ["7 labels", "14 labels"]
    assert by_labels["`s_act`"] == ["50.0 ± 0.0", "60.0 ± 0.0"]
    # Means of the runs whose rows have the column.
    assert picks["`s_act`"][:3] == ["50 %", "0.30", "-"]
    assert picks["`d_act, pair, brier`"][-3:] == ["75 %", "2.0", "2.0"]
    assert "`d_act, pair, brier` 1." in text  # it has fewer seeds
    assert "badge" not in text  # it lacks a task
    assert text.endswith("What it means.\n")


def _tables(text):
    """The Markdown tables of a page: first cell of a row -> its other cells."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    rows = [
        [re.split(r" *\| ?", line)[1:-1] for line in b.splitlines()] for b in blocks
    ]
    return [{row[0]: row[1:] for row in table} for table in rows]


def test_total_variation_and_outliers():
    assert picked.variation([1, 1], [5, 5]) == 0
    assert picked.variation([2, 0], [0, 3]) == 1
    assert picked.variation([3, 1], [1, 1]) == pytest.approx(0.25)
    line = np.array([0, 1, 2, 3, 50], np.float32).reshape(5, 1, 1, 1)
    domain = Domain("x", Examples(line, np.zeros(5)), None, None, np.arange(5))
    assert picked.apart(domain).tolist() == [0, 0, 0, 0, 0.8]


def test_every_field_of_choices_exists():
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
    bench_selection.main(["bench_selection", "--table", f"--output={path}"])
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    size = "| mixture | 60,000 | 512 | 1,000 |"
    assert f"{size} 0.60 | 23.4 (39×) differs | failed | ~180 (~300×) |" in text
    assert f"{size} 12.0 | 10.2 | 17× | 80.0 | 128 % |" in text
    assert f"{size} 2.50 s, 120 MB | 2.50 s, 120 MB | failed | ≥120 MB |" in text
    assert f"{size} 99.8 % differs | failed | 5 % of 60 |" in text
    assert "## Some CPU, 1 of 2 cores" in text
    assert "--budget=PICKS --cores=2 --repeats=5`" in text
    assert "python 3.12, numpy 2.4." in text  # torch has no version
    assert text.endswith("What it means.\n")


def test_seconds_are_extrapolated_linearly():
    # 0.5 s beside 0.1 s a pick.
    assert selection_process.extrapolate(2.5, 6.5, (20, 60), 1000) == pytest.approx(
        100.5
    )
    # Noise: more picks take no longer.
    assert selection_process.extrapolate(3, 3, (20, 60), 120) == pytest.approx(6)


def test_the_answers_of_a_contestant_are_summed_up():
    answers = [
        {**_entry(0, 0), "warm_s": [1.0, 2.0, 9.0], "gap": 0.0},
        {**_entry(0, 0), "warm_s": [3.0, 4.0], "gap": 2e-4, "equal": 7},
    ]
    entry = selection_row.summary(answers, 0.5)
    assert (entry["seconds"], entry["ratio"]) == (3.0, 6.0)
    assert (entry["equal"], entry["agrees"]) == (7, False)
    failed = {"failed": "exit 1"}
    assert selection_row.summary([*answers, failed], 0.5) == failed


def test_a_row_in_the_file_is_not_measured_again():
    job = {key: SELECTION[key] for key in selection_row.CELL}
    names = ["ours", "numpy", "torch"]
    assert bench_selection.missing([SELECTION], job, names) == ["torch"]
    assert bench_selection.missing([{**SELECTION, "cores": 2}], job, names) == names


@pytest.mark.parametrize("data", selection_data.DRAWN)
def test_contestants_pick_the_same_rows(data):
    points = selection_data.draw(data, 300, 16, seed=1)
    copy = points.copy()
    picks = {
        name: selection_contestants.CONTESTANTS[name](points, 25)
        for name in ("ours", "numpy", "jax")
    }
    assert picks["ours"][0] == 0
    assert picks["numpy"].tolist() == picks["ours"].tolist()
    assert picks["jax"].tolist() == picks["ours"].tolist()
    np.testing.assert_array_equal(points, copy)
    distance = np.linalg.norm(points[:, None] - points[None, picks["ours"]], axis=-1)
    radius = selection_data.cover_radius(points, picks["ours"])
    assert radius == pytest.approx(distance.min(-1).max(), rel=1e-5)


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
        features = selection_data.read(path)
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features, points.astype(np.float32))
    assert selection_data.shape("pacs", 2, 512, tmp_path) == (2, 3)
    assert selection_data.shape("noise", None, 7, None) == (60_000, 7)


def test_a_process_compares_its_picks_with_those_of_the_reference(tmp_path):
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


def run_command(name, *arguments):
    importlib.import_module(f"experiments.{name}").main([name, *map(str, arguments)])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_an_experiment_makes_and_needs(name, capsys):
    module = importlib.import_module(f"experiments.{name}")
    with pytest.raises(SystemExit) as stop:
        module.main([name, "--help"])
    assert stop.value.code == 0
    shown, error = capsys.readouterr()
    assert error == ""
    title, blank, *lines = shown.splitlines()
    assert title.endswith(".")
    assert blank == ""
    for field in ("Makes", "Data", "Time"):
        assert any(re.match(rf"{field}: +\S", line) for line in lines[:8]), field
    # The command that it quotes has only flags that it lists.
    flags = set(re.findall(r"--(?:\[no\])?(\w+)", shown.replace(module.__doc__, "")))
    assert set(re.findall(r"--(\w+)=", module.__doc__)) <= flags


def test_every_module_is_a_command_or_is_imported():
    for name in TEXTS.keys() - set(COMMANDS):
        assert any(re.search(rf"\b{name}\.", text) for text in TEXTS.values()), name


ELSEWHERE = ("--results=runs/nowhere", "--seeds=1")


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("mnist_table", ["--seed=1"], "seed"),
        ("mnist_table", ["--seeds=0"], "--seeds"),
        ("mnist_table", ["--methods=dan"], "'dann'"),
        ("mnist_table", ["--tasks=MNIST → UPS"], "'MNIST → USPS'"),
        ("mnist_table", ["more"], "'more'"),
        ("clue_lenet", ["--mnist=x.npz"], "--weights"),
        ("bench_selection", ["--rows=many"], "--rows"),
        ("bench_selection", ["--contestants=scipy"], "scipy"),
        ("bench_selection", ["--cores=100000"], "--cores"),
        ("jan_spread", ["--source=missing.npz"], "missing.npz"),
        ("label_shift", ["--data_dir=missing"], "missing/photo.npz"),
        ("digits_choices", ["--data_dir=missing", *ELSEWHERE], "missing/mnist"),
        ("choices_table", ["--data_dir=missing", *ELSEWHERE], "missing/"),
        ("embeddings_table", ["--data_dir=missing", *ELSEWHERE], "missing/"),
        ("mnist_table", ["--data_dir=missing", *ELSEWHERE], "missing/"),
        ("digits_table", ["--source=missing.npz", *ELSEWHERE], "missing.npz"),
        ("digits_table", ["--presets=mmee", *ELSEWHERE], "'mmee'"),
        ("choices_table", ["--page", *ELSEWHERE], "nowhere.json"),
        ("digits_choices", ["--page", *ELSEWHERE], "nowhere.json"),
        ("embeddings_table", ["--page", *ELSEWHERE], "nowhere.json"),
        ("bench_selection", ["--table", "--output=runs/nowhere.json"], "nowhere.json"),
        ("bench_selection", ["--data=mmee"], "--features"),
        ("bench_selection", ["--data=x", "--features=missing"], "missing"),
        ("bench_selection", ["--data=x", "--features=tests"], "tests"),
        ("clue_lenet", ["--mnist=missing.npz", "--weights=x"], "missing.npz"),
        ("startup", ["--before=missing"], "--before=missing"),
        ("startup", ["--output=experiments/results/startup.json"], "--commit"),
        (
            "mnist_features",
            ["--mnist=x", "--weights=x", "--output=missing/x.npy"],
            "folder missing",
        ),
    ],
)
def test_a_mistake_is_one_sentence(name, arguments, named, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command(name, *arguments)
    assert stop.value.code == 2
    assert named in capsys.readouterr().err


PACS = {"photo": 20, "cartoon": 25, "sketch": 30}  # vectors of each of seven classes


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    """A folder with small embeddings in the form of the PACS features."""
    folder = tmp_path_factory.mktemp("pacs")
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(7, 6))
    for name, per_class in PACS.items():
        label = np.arange(7 * per_class) % 7
        features = centers[label] + rng.normal(size=(len(label), 6))
        np.savez(
            folder / f"{name}.npz",
            features=features.astype(np.float32),
            label=label,
            path=np.char.add(f"{name}/", np.arange(len(label)).astype(str)),
            classes=np.array(list("abcdefg")),
        )
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder with a few images of digits in the form of MNIST and MNIST-M."""
    folder = tmp_path_factory.mktemp("digits")
    for name, channels in (("mnist/mnist", ()), ("mnist_m/mnist_m_10k", (3,))):
        path = folder / f"{name}.npz"
        path.parent.mkdir()
        np.savez(
            path,
            **_split("train", 200, channels),
            **_split("test", 20, channels),
        )
    (folder / "usps").mkdir()
    (folder / "usps/usps.npz").write_bytes((folder / "mnist/mnist.npz").read_bytes())
    return folder


def _split(name, count, channels):
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, 28, 28, *channels), np.uint8)
    return {f"x_{name}": images, f"y_{name}": np.arange(count) % 10}


def _rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_embeddings_table(pacs, tmp_path):
    arguments = (
        f"--data_dir={pacs}",
        "--seeds=1",
        "--steps=2",
        "--methods=dann (tll)",
        "--tasks=photo → cartoon",
        f"--results={tmp_path}/made/table",
    )
    run_command("embeddings_table", *arguments, f"--runs={tmp_path}")
    (row,) = _rows(tmp_path / "made/table.json")
    assert (row["method"], row["task"]) == ("dann (tll)", "photo → cartoon")
    assert (row["seed"], row["labels_target"]) == (0, 0)
    assert (row["labels_val"], row["test_images"]) == (21, 58)
    assert all(0 <= row[column] <= 1 for column in runs.COLUMNS)
    page = (tmp_path / "made/table.md").read_text()
    for table in _tables(page):
        assert [*table] == ["method", "---", "`dann (tll)`"]
    # --page writes the same page again, without any run.
    (tmp_path / "made/table.md").unlink()
    run_command("embeddings_table", "--page", *arguments, f"--runs={tmp_path}/none")
    assert (tmp_path / "made/table.md").read_text() == page
    # A row that is there stays, with its seconds; nothing else is run.
    row["seconds"] = 12345.0
    runs.write(tmp_path / "made/table.json", [row])
    run_command("embeddings_table", *arguments, f"--runs={tmp_path}/none")
    assert _rows(tmp_path / "made/table.json") == [row]
    assert not (tmp_path / "none").exists()
    # Rows of a quick try are never taken for those of the table.
    assert row["settings"] == {"steps": 2}
    with pytest.raises(SystemExit):
        run_command("embeddings_table", *arguments, "--steps=3")


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("digits_table", ["--steps=1", "--seeds=6"], "--steps=1"),
        ("digits_table", ["--steps=1", "--seeds=6", "--commit"], "--steps=1"),
        ("digits_table", ["--seeds=6"], "--commit"),
        ("digits_choices", ["--seeds=4"], "--commit"),
        ("digits_choices", ["--seeds=4", "--side=16", "--commit"], "--side=16"),
        ("digits_choices", ["--page"], "--commit"),
        ("choices_table", ["--seeds=11"], "--commit"),
        ("embeddings_table", ["--seeds=6"], "--commit"),
        ("embeddings_table", ["--page"], "--commit"),
        ("mnist_table", ["--seeds=4"], "--commit"),
        ("bench_selection", ["--rows=80", "--width=4", "--budget=5"], "--commit"),
        ("bench_selection", ["--table"], "--commit"),
        ("bench_herding", ["--rows=80", "--width=4", "--budget=5"], "--commit"),
    ],
)
def test_published_results_are_written_with_commit_alone(
    name, arguments, why, capsys, monkeypatch
):
    def fail(*args, **options):
        raise AssertionError("it must not work before it is refused")

    monkeypatch.setattr(runs, "finish", fail)
    monkeypatch.setattr(choices, "run", fail)
    monkeypatch.setattr(selection_row, "measure", fail)
    before = _contents(runs.RESULTS)
    with pytest.raises(SystemExit) as stop:
        run_command(name, *arguments)
    assert stop.value.code == 2
    assert why in capsys.readouterr().err
    assert _contents(runs.RESULTS) == before


@pytest.mark.parametrize(
    "name",
    [
        "choices_table",
        "digits_choices",
        "digits_table",
        "embeddings_table",
        "mnist_table",
    ],
)
def test_a_table_that_is_complete_says_so(name, capsys, monkeypatch):
    before = _contents(runs.RESULTS)
    run_command(name)
    assert capsys.readouterr().out.startswith("Nothing to do: ")
    assert _contents(runs.RESULTS) == before


def _contents(folder):
    return {path: path.read_bytes() for path in folder.iterdir()}


def test_mnist_table(digits, tmp_path):
    run_command(
        "mnist_table",
        f"--data_dir={digits}",
        "--seeds=1",
        "--side=16",
        "--steps=1",
        "--methods=source_only",
        "--tasks=MNIST → USPS",
        f"--results={tmp_path}/table",
        f"--runs={tmp_path}",
    )
    (row,) = _rows(tmp_path / "table.json")
    assert (row["method"], row["task"]) == ("source_only", "MNIST → USPS")
    assert (row["labels_val"], row["test_images"]) == (120, 20)
    (table, *_) = _tables((tmp_path / "table.md").read_text())
    assert table["`source_only`"][0] == runs.cell([row["test_accuracy"]])


def test_digits_table(digits, tmp_path):
    run_command(
        "digits_table",
        f"--source={digits}/mnist/mnist.npz",
        f"--target={digits}/usps/usps.npz",
        "--seeds=1",
        "--side=16",
        "--steps=1",
        "--presets=source_only",
        f"--results={tmp_path}/table",
        f"--runs={tmp_path}",
    )
    (row,) = _rows(tmp_path / "table.json")
    assert (row["preset"], row["seed"], row["labels"]) == ("source_only", 0, [0])
    assert (row["labels_val"], row["source_samples"]) == (30, 200)
    (table,) = _tables((tmp_path / "table.md").read_text())
    assert table["preset"] == ["runs", "0 labels", "seconds"]
    assert table["`source_only`"][:2] == ["1", runs.cell(row["test_accuracy"])]


def test_choices_table(pacs, tmp_path, monkeypatch):
    # A fortieth of each source is chosen at once, four times: two vectors.
    monkeypatch.setattr("experiments.choices_table.SIZES", dict.fromkeys(PACS, 80))
    run_command(
        "choices_table",
        f"--data_dir={pacs}",
        "--seeds=1",
        "--first_seed=3",
        "--steps=1",
        "--methods=d_act, pair, brier, tenth",
        "--tasks=sketch → photo",
        f"--results={tmp_path}/table",
    )
    (row,) = _rows(tmp_path / "table.json")
    assert (row["task"], row["seed"]) == ("sketch → photo", 3)
    assert row["labels"] == [7, 14, 21, 28, 35]
    assert len(row["test_accuracy"]) == len(row["test_mean_class_accuracy"]) == 5
    assert len(row["target_rows"]) == 35
    assert (row["source_samples"], row["source_pool"]) == (8, 7 * PACS["sketch"])
    assert sum(row["branches"].values()) > 0
    last, *_ = _tables((tmp_path / "table.md").read_text())
    assert [*last] == ["method", "---", "`d_act, pair, brier, tenth`"]


def test_digits_choices(digits, tmp_path):
    run_command(
        "digits_choices",
        f"--data_dir={digits}",
        "--seeds=1",
        "--side=16",
        "--steps=1",
        "--methods=s_rt",
        "--tasks=MNIST-M → MNIST",
        f"--results={tmp_path}/table",
        f"--runs={tmp_path}",
    )
    (row,) = _rows(tmp_path / "table.json")
    assert (row["method"], row["task"]) == ("s_rt", "MNIST-M → MNIST")
    assert row["labels"] == [10, 20, 30, 40, 50]
    assert row["source_samples"] == 200
    with np.load(tmp_path / "mnist_10000.npz") as arrays:
        assert arrays["x_train"].shape == (200, 28, 28)
    assert "`s_rt`" in _tables((tmp_path / "table.md").read_text())[0]


def test_label_shift(pacs, tmp_path, capsys):
    run_command(
        "label_shift",
        f"--data_dir={pacs}",
        "--seeds=1",
        "--steps=1",
        f"--runs={tmp_path}",
    )
    shown = capsys.readouterr().out
    assert re.findall(r"(\w+, \w+): .* (\d\.\d+)", shown) == [
        ("photo, cartoon", "0.000"),
        ("photo, sketch", "0.000"),
        ("cartoon, sketch", "0.000"),
    ]
    (table,) = _tables(shown)
    assert table["method"] == ["as photos", "as sketches", "mean"]
    assert [*table][2:] == ["`source_only`", "`dann`"]
    for name in ("as_photos", "as_sketches"):
        with np.load(tmp_path / f"{name}.npz") as arrays:
            assert len(arrays["label"]) == len(set(arrays["path"])) == 210


def test_jan_spread(pacs, capsys):
    run_command(
        "jan_spread",
        f"--source={pacs}/photo.npz",
        f"--target={pacs}/cartoon.npz",
        "--batch=6",
        "--draws=2",
    )
    lines = re.findall(
        r"source, (\w+), (\w+): -?\d+\.\d+ \+- \d+\.\d+\n", capsys.readouterr().out
    )
    assert lines == [
        ("source", "full"),
        ("source", "linear"),
        ("target", "full"),
        ("target", "linear"),
    ]


@pytest.fixture(scope="module")
def clue_weights(tmp_path_factory):
    """A file of random weights with the names and shapes of CLUE's LeNet."""
    path = tmp_path_factory.mktemp("clue") / "lenet.npz"
    rng = np.random.default_rng(0)
    shapes = {
        "conv_params.0": (20, 1, 5, 5),
        "conv_params.3": (50, 20, 5, 5),
        "fc_params": (500, 800),
        "classifier.2": (10, 500),
    }
    tensors = {f"{name}.bias": np.zeros(s[0], np.float32) for name, s in shapes.items()}
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = 0.1 * rng.standard_normal(shape, np.float32)
    np.savez(path, **tensors)
    return path


def test_clue_lenet(clue_weights, digits, capsys):
    run_command(
        "clue_lenet",
        f"--weights={clue_weights}",
        f"--mnist={digits}/mnist/mnist.npz",
    )
    ((correct, total, percent),) = re.findall(
        r"(\d+) of (\d+) .*: (\S+) %", capsys.readouterr().out
    )
    assert total == "20"
    assert float(percent) == 100 * int(correct) / 20


def test_mnist_features(clue_weights, digits, tmp_path, capsys):
    output = tmp_path / "features.npy"
    run_command(
        "mnist_features",
        f"--weights={clue_weights}",
        f"--mnist={digits}/mnist/mnist.npz",
        f"--output={output}",
    )
    features = np.load(output)
    assert (features.shape, features.dtype) == ((200, 500), np.float32)
    assert features.min() == 0
    assert "float32[200, 500]" in capsys.readouterr().out


def test_startup(tmp_path, capsys, monkeypatch):
    told = {"before": [8.0, 6.0, 7.0, 2.0], "now": [6.0, 2.0, 9.0, 3.0]}

    def start(code, caches, config):
        number = len(list(caches.iterdir()))  # earlier starts of this code
        (caches / str(number)).touch()
        each = dict.fromkeys(startup._TIMES, told[caches.name][number])
        return {**each, "compiled": 0 if number else 30}

    monkeypatch.setattr(startup, "start", start)
    path = tmp_path / "startup.json"
    arguments = ["--configs=tiny", "--before=.", "--repeats=3", f"--output={path}"]
    for _ in range(2):  # measured again, a row takes the place of the other
        run_command("startup", *arguments)
        (row,) = _rows(path)
    assert row["before"]["warm"]["first_iteration"] == 6.0  # the median
    assert row["now"]["warm"]["first_iteration"] == 3.0
    assert (row["now"]["programs"], row["now"]["compiled_warm"]) == (30, 0)
    shown = capsys.readouterr().out
    assert "| tiny | before | 1.00 | 0.75 | 30 | 0 |" in shown
    assert "| tiny | now | 0.75 | 0.38 | 30 | 0 |" in shown


def test_bench_step(capsys):
    sizes = ["--side=16", "--batch=2", "--chunk=1", "--repeats=1"]
    run_command("bench_step", *sizes)
    shown = capsys.readouterr().out
    times = dict(re.findall(r"(\w+): (\d+\.\d) ms", shown))
    assert [*times] == ["tiled", "stock"]
    assert re.search(r"stock / tiled: \d+\.\d\n$", shown)


def test_bench_herding(capsys, tmp_path):
    where = f"--output={tmp_path / 'herding.json'}"
    sizes = ("--rows=300", "--width=8", "--budget=5", "--cores=1", where)
    run_command("bench_herding", "--contestants=ours,numpy", "--drawn=100", *sizes)
    (row,) = _rows(tmp_path / "herding.json")
    ours, peer, drawn = row["contestants"].values()
    assert ours["equal"] == peer["equal"] == 1
    assert ours["coverage"] == peer["coverage"] > drawn["coverage"] > 0
    assert "numpy: " in capsys.readouterr().out


def test_bench_input(capsys, tmp_path):
    where = f"--results={tmp_path / 'input.json'}"
    sizes = ("--count=24", "--size=16", "--batch=4", "--repeats=1", where)
    run_command("bench_input", "--what=reading", *sizes)
    run_command("bench_input", "--what=step", "--encoder=lenet", "--steps=2", *sizes)
    reading, step = runs.read(tmp_path / "input.json")
    assert [*reading["rates"]] == ["not kept", "first start", "second start"]
    assert reading["images"] == 24
    assert 0 <= step["kept"]["waiting_share"] < 1
    assert step["images_a_step"] == 16
    assert "Written" in capsys.readouterr().out


def test_bench_embed(capsys, monkeypatch, tmp_path):
    backbone = tiny.backbone()
    monkeypatch.setattr(backbones, "load", lambda name: backbone)
    for number in range(3):
        pixels = np.full((9, 8, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    sizes = ["--count=2", "--repeats=1", "--clock=processor"]
    run_command("bench_embed", *sizes, f"--images={tmp_path}", "--alone")
    tables = _tables(capsys.readouterr().out)
    assert [table["dact_jax"][1:] for table in tables] == [["1.00", "0.0e+00"]] * 2
    assert all(float(table["dact_jax"][0]) > 0 for table in tables)


def test_bench_embed_needs_torch_or_is_alone(capsys, monkeypatch):
    monkeypatch.setattr(backbones, "load", lambda name: tiny.backbone())
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit):
        run_command("bench_embed")
    assert "install torch, or add --alone." in capsys.readouterr().err


def test_bench_k_means(capsys):
    sizes = ["--rows=60", "--width=4", "--k=3", "--iterations=1", "--repeats=1"]
    run_command("bench_k_means", *sizes, "--spread=0.1")
    (table,) = _tables(capsys.readouterr().out)
    assert [*table] == ["", "---", "dact_jax", "scikit-learn"]
    assert len(table[""]) == 4
    # Both find the three clusters.
    ours, sklearn = (float(table[name][-1]) for name in ("dact_jax", "scikit-learn"))
    assert ours == pytest.approx(sklearn, rel=1e-3)


def test_bench_selection(tmp_path, capsys):
    path = tmp_path / "made/selection.json"
    sizes = ["--rows=80", "--width=4", "--budget=5", "--repeats=1"]
    sizes += ["--pass_rows=100", "--product=64", "--contestants=numpy"]
    run_command("bench_selection", *sizes, f"--output={path}")
    (row,) = _rows(path)
    assert {key: row[key] for key in ("data", "rows", "width", "budget", "cores")} == {
        "data": "mixture",
        "rows": 80,
        "width": 4,
        "budget": 5,
        "cores": 1,
    }
    for entry in row["contestants"].values():
        assert (entry["picks"], entry["equal"], entry["agrees"]) == (5, 5, True)
        assert entry["seconds"] > 0
    assert [*row["contestants"]] == ["ours", "numpy"]
    assert row["bytes_per_s"] > 0
    assert row["flop_per_s"] > 0
    (table,) = _tables(capsys.readouterr().out)
    assert table["points"] == ["N", "F", "picks", "ours", "NumPy"]
    run_command("bench_selection", *sizes, f"--output={path}")  # nothing is missing
    assert _rows(path) == [row]


def test_pool_scale_fits_what_follows_its_model():
    true = {"start": 4e8, "image": 30.0, "name": 8.0, "input": 12.0, "embedding": 5.0}
    rows = [
        {"images": images, **pool_scale.SMALL, **larger}
        for images, larger in pool_scale.POOLS
    ]
    for row in rows:
        row["peak_whole"] = pool_scale.predicted(true, row["images"], row)
    found = pool_scale.fitted(rows, "peak_whole")
    assert found == pytest.approx(true)


def test_pool_scale_measures_a_pool():
    row = pool_scale.measure(3000, pool_scale.SMALL)
    assert row["peak_whole"] >= row["peak_read"] > 1e8
    assert row["whole"] > row["reading"] > 0
