"""The table of acquisitions: its statistics, and a few of its runs."""

import importlib
import json
import pathlib
import shutil

import numpy as np
import pytest

from experiments import (
    acquisitions_page,
    acquisitions_runs,
    acquisitions_stats,
    acquisitions_table,
    fingerprints,
)

ROOT = pathlib.Path(__file__).parents[1]
NUM_CLASSES = 7


def test_a_sign_test_is_exact_and_leaves_ties_out():
    rival = dict.fromkeys(range(10), 0.5)
    better = dict.fromkeys(range(9), 0.6) | {9: 0.5, 11: 0.9}
    found = acquisitions_stats.paired(better, rival)
    assert found[:3] == (9, 0, 10)
    assert found.mean == pytest.approx(0.09)
    assert found.p == pytest.approx(2 * 0.5**9)
    assert acquisitions_stats.paired(rival, rival).p == 1
    with pytest.raises(ValueError, match="no seed"):
        acquisitions_stats.paired(rival, {12: 0.5})


def test_differences_that_cancel_have_a_mean_of_0():
    values = {0: 0.7155, 1: 0.7445, 2: 0.4331}
    rival = {0: 0.719, 1: 0.7222, 2: 0.4519}
    assert np.mean([values[seed] - rival[seed] for seed in values]) != 0
    assert acquisitions_stats.paired(values, rival).mean == 0


def test_holm_multiplies_the_smallest_by_the_number_of_tests():
    corrected = acquisitions_stats.holm([0.04, 0.01, 0.03, 0.9])
    np.testing.assert_allclose(corrected, [0.09, 0.04, 0.09, 0.9])
    assert acquisitions_stats.holm([0.6, 0.5]) == [1.0, 1.0]


def test_a_tally_corrects_within_its_families():
    def cell(wins, losses, mean):
        return acquisitions_stats.paired(
            {
                seed: mean + (seed < wins) - (seed >= wins)
                for seed in range(wins + losses)
            },
            dict.fromkeys(range(wins + losses), mean),
        )

    cells = [cell(10, 0, 0), cell(0, 10, 0), cell(8, 2, 0)]  # p 0.002, 0.002, 0.11
    found = acquisitions_stats.tally(cells, ["a", "a", "b"])
    assert (found.cells, found.better, found.worse) == (3, 1, 1)
    assert found.positive == pytest.approx(2 / 3)
    assert found.least == -1
    many = acquisitions_stats.tally(cells[:1] + [cell(5, 5, 0)] * 30, ["a"] * 31)
    assert many.better == 0  # 0.002 * 31


def test_mean_ranks_and_the_critical_difference():
    values = np.array([[0.9, 0.5, 0.5], [0.4, 0.3, 0.6]])
    ranks = acquisitions_stats.mean_ranks(values)
    np.testing.assert_allclose(ranks, [1.5, 2.75, 1.75])
    # Demsar (2006), table 5: q = 2.728 for 5 classifiers, and 2.569 for 4.
    assert acquisitions_stats.critical_difference(5, 30) == pytest.approx(
        1.114, abs=1e-3
    )
    assert acquisitions_stats.critical_difference(4, 14) == pytest.approx(
        1.25, abs=5e-3
    )


def test_ranks_are_of_whole_blocks():
    row = {"task": "t", "adaptation": "mme", "start": "random"}
    rows = [
        {**row, "acquisition": name, "seed": seed, "test_accuracy": [value] * 5}
        for seed in (0, 1)
        for name, value in (("random", 0.1), ("clue", 0.2))
    ]
    values = acquisitions_page.by_cell(rows[:3])  # seed 1 lacks clue
    names = [("random", "random"), ("clue", "random")]
    np.testing.assert_allclose(acquisitions_page.ranked(values, names), [[0.1, 0.2]])


def test_rows_have_one_order_whichever_process_was_first():
    rows = [
        {"task": task, "adaptation": way, "seed": seed, "acquisition": name, "start": s}
        for seed in (0, 1)
        for task in ("b", "a", "gone")
        for way in ("mme", "fine-tuning")
        for name, s in (("random", "random"), ("random", "herding"), ("las", "random"))
    ]
    mixed = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    assert acquisitions_table.in_order(mixed, ["b", "a"]) == rows


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with vectors in the form of the PACS features: 140 a domain."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "pacs_features").mkdir()
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(NUM_CLASSES, 6))
    for name in acquisitions_table.PACS:
        label = np.arange(20 * NUM_CLASSES) % NUM_CLASSES
        features = centers[label] + rng.normal(size=(len(label), 6))
        path = np.char.add(f"{name}/", np.arange(len(label)).astype(str))
        np.savez(
            folder / "pacs_features" / f"{name}.npz",
            features=features.astype(np.float32),
            label=label,
            path=path,
        )
    return folder


def run(data, results, *arguments):
    acquisitions_table.main(
        [
            "acquisitions_table",
            f"--data_dir={data}",
            "--seeds=1",
            "--steps=2",
            "--tasks=photo → sketch",
            f"--results={results}",
            *arguments,
        ]
    )
    lines = results.with_name("table.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_runs_of_one_seed_share_their_start_and_are_not_repeated(
    data, tmp_path, capsys
):
    chosen = "--acquisitions=random; u_herding; drop_query"
    rows = run(data, tmp_path / "table", chosen, "--adaptations=mme")
    assert [(row["acquisition"], row["start"]) for row in rows] == [
        ("random", "random"),
        ("random", "herding"),
        ("u_herding", "random"),
        ("u_herding", "herding"),
        ("u_herding", "u_herding"),
        ("drop_query", "random"),
        ("drop_query", "herding"),
    ]
    for row in rows:
        assert row["labels"] == [7, 14, 21, 35, 70]
        assert len(row["test_accuracy"]) == 5
    for start in ("random", "herding"):  # the first labels decide the first accuracy
        of_it = {row["test_accuracy"][0] for row in rows if row["start"] == start}
        assert len(of_it) == 1
    assert "7 runs, about" in capsys.readouterr().out
    page = (tmp_path / "table.md").read_text()
    assert "| `u_herding` | u_herding |" in page
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
    again = run(data, tmp_path / "table", chosen, "--adaptations=mme")
    assert again == rows
    assert "Nothing to do" in capsys.readouterr().out


def test_files_that_are_missing_are_named_before_the_first_run(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, tmp_path / "table")
    assert "pacs_features/photo.npz" in capsys.readouterr().err


def test_digits_are_embedded_by_a_network_of_their_source(tmp_path, monkeypatch):
    pair = acquisitions_table.DIGITS[-1:]  # one of them in color
    monkeypatch.setattr(acquisitions_table, "DIGITS", pair)
    rng = np.random.default_rng(0)
    for name, channels in (
        ("mnist/mnist", ()),
        ("usps/usps", ()),
        ("mnist_m/mnist_m_10k", (3,)),
    ):
        path = tmp_path / f"{name}.npz"
        path.parent.mkdir()
        arrays = {
            f"{kind}_{part}": value
            for part, num in (("train", 40), ("test", 10))
            for kind, value in (
                ("x", rng.integers(0, 256, (num, 28, 28, *channels), dtype=np.uint8)),
                ("y", np.arange(num) % 10),
            )
        }
        np.savez(path, **arrays)
    module = importlib.import_module("experiments.acquisitions_digits")
    output = tmp_path / "made"
    module.main(
        [
            "acquisitions_digits",
            f"--data_dir={tmp_path}",
            f"--output={output}",
            "--steps=1",
        ]
    )
    for source, target in pair:
        for side in ("source", "target"):
            with np.load(output / f"{source}_{target}_{side}.npz") as found:
                assert found["features"].shape == (40, 500)
                assert found["features"].dtype == np.float32
                np.testing.assert_array_equal(found["label"], np.arange(40) % 10)


def test_a_fingerprint_covers_the_fields_of_the_tasks(tmp_path):
    task = acquisitions_table.tasks("", "", 1, 0)["photo → sketch"]
    choice = acquisitions_runs.Choice("u_herding", "herding")
    modules = acquisitions_runs.modules(task, "mme", choice)
    assert "dact_jax.acquisitions.herding" in modules
    for name in ("acquisitions_table", "choices_table"):
        tree = tmp_path / name
        for package in ("dact_jax", "experiments", "configs"):
            shutil.copytree(ROOT / package, tree / package)
        path = tree / "experiments" / f"{name}.py"
        path.write_text(f"{path.read_text()}\nCHANGED = 1\n")
        assert fingerprints.of(modules, tree) != fingerprints.of(modules)
