"""`python -m dact_jax.compare`: methods over seeds, on one page and in tables."""

import pathlib
import re

import numpy as np
import pytest
import yaml
from scipy import stats

from dact_jax import compare, errors
from dact_jax.reports.comparison import comparison, pairs, statistics, tables
from tests.reports.page import made
from tests.reports.page.test_page import Elements

CURVES = {  # method -> accuracies of seeds 0, 1 and 2, after each of two rounds
    "clue": [(0.50, 0.70), (0.52, 0.74), (0.48, 0.72)],
    "random": [(0.45, 0.60), (0.50, 0.65), (0.47, 0.61)],
    "k<center>_&": [(0.44, 0.66), (0.46, 0.75), (0.49, 0.64)],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Nine runs, three methods with three seeds."""
    monkeypatch.chdir(tmp_path)
    task = made.task(tmp_path, images="vectors")
    for number, (name, seeds) in enumerate(CURVES.items()):
        for seed, accuracy in enumerate(seeds):
            config = {"name": name, "seed": seed, "acquisition": f"a{number}"}
            made.fill(tmp_path / f"{number}_{seed}", task, accuracy=accuracy, **config)
    return tmp_path


def folders(*names):
    every = [f"{number}_{seed}" for number in range(3) for seed in range(3)]
    return [pathlib.Path(name) for name in names or every]


def change(folder, **fields):
    """Changes config.yaml of a run: a=1 in its config, data__a=1 in its data."""
    path = folder / "config.yaml"
    content = yaml.safe_load(path.read_text())
    for name, value in fields.items():
        place, _, field = name.rpartition("__")
        inside = content if place == "top" else content["config"]
        inside = inside["data"] if place == "data" else inside
        inside[field] = value
    path.write_text(yaml.safe_dump(content))


def test_three_methods_by_three_seeds(folder, capsys):
    done = compare.run(folders(), pathlib.Path("c.html"))
    assert [method.name for method in done.methods] == ["clue", "k<center>_&", "random"]
    said = capsys.readouterr().out
    assert "| clue | 3 | 50.0 ± 2.0 | 72.0 ± 2.0 |" in said
    page = Elements(pathlib.Path("c.html").read_text())
    text = page.text()
    assert (
        "With 6 target labels, over 3 seeds, clue has the best test accuracy, 72.0 ± "
        "2.0 %, before k<center>_& with 68.3 ± 5.9 %: 3.7 points better on average, on "
        "2 of 3 seeds, which may be chance (t test, Holm: p = 0.29)." in text
    )
    assert (
        "From source to target, 2 classes; accuracy is measured on 24 test images of "
        "target. ± is the standard deviation over seeds." in text
    )
    assert "clue mme a0 - 0, 1, 2" in text
    assert "mme method Minimax entropy (" in text
    assert "mkdir -p again/0_0 && cp 0_0/config.yaml again/0_0 && python -m" in text
    assert "clue minus random 10.0 ± 1.0 +10.0, +9.0, +11.0 3 of 3" in text
    assert len(page.all("polygon")) == 3
    assert not page.all("script")
    assert "acquisition a0 a2 a1" in text
    assert r"k\textless{}center\textgreater{}\_\& & $46.3 \pm 2.5$" in text
    assert r"clue & $50.0 \pm 2.0$ & $72.0 \pm 2.0$ \\" in text
    assert "| k&lt;center&gt;\\_&amp; | 3 |" in text


def test_a_best_that_may_be_chance_or_is_tied_is_not_bold(folder):
    done = comparison.compare([f for f in folders() if str(f)[0] in "01"], "test")
    text = Elements(comparison.text(done, pathlib.Path("c.html"))).text()
    assert r"clue & $50.0 \pm 2.0$ & $\mathbf{72.0 \pm 2.0}$ \\" in text
    tied = done.methods[1]._replace(name="tied", runs=done.methods[0].runs)
    assert pairs.winner([done.methods[0], tied], 6) == ""
    assert pairs.winner(done.methods, 6) == "clue"


def test_the_best_is_set_beside_random_selection_and_the_source_alone(folder):
    task = made.task(folder, images="vectors")
    for seed in (0, 1):
        change(folder / f"1_{seed}", acquisition="random")
    change(folder / "1_2", acquisition="random")
    made.fill(
        folder / "alone",
        task,
        rounds=1,
        per_round=0,
        accuracy=(0.3,),
        name="alone",
        method="source_only",
        seed=1,
    )
    done = comparison.compare(
        folders("0_0", "0_1", "1_0", "1_1", "1_2", "alone"), "test"
    )
    assert comparison.baselines(done) == [
        "Against random selection (random), clue is 9.5 points better on average, on 2 "
        "of 2 seeds, which is hardly chance (t test, Holm: p = 0.033).",
        "Against the source alone (alone), clue is 44.0 points better on the one seed "
        "that both have: too few to rule out chance.",
    ]
    text = comparison.text(done, pathlib.Path("c.html"))
    assert "clue has no run with the seed 2." in text
    assert "alone has no run with the seeds 0, 2." in text
    assert "random has no run" not in text
    (row,) = re.findall(r"clue minus alone.*?</tr>", text, re.DOTALL)
    assert row.count("<bdi>-</bdi>") == 3
    best = comparison.compare(folders("1_0", "alone"), "test")
    assert comparison.baselines(best)[0] == (
        "The best method is random selection itself (random): no other beats it."
    )


def test_the_tests_are_those_of_scipy_on_differences_by_seed(folder):
    done = comparison.compare(folders(), "test")
    pair = next(p for p in done.pairs if (p.one, p.other) == ("clue", "random"))
    clue, random = (
        100 * np.array([a for _, a in CURVES[name]]) for name in ("clue", "random")
    )
    assert pair.paired.t == pytest.approx(stats.ttest_rel(clue, random).pvalue)
    assert pair.paired.sign == pytest.approx(0.25)
    assert list(pair.paired.differences) == [0, 1, 2]
    raw = sorted(p.paired.t for p in done.pairs)
    holm = sorted(p.corrected for p in done.pairs)
    assert holm[0] == pytest.approx(min(1, 3 * raw[0]))
    assert holm[1] == pytest.approx(min(1, max(holm[0], 2 * raw[1])))


@pytest.mark.parametrize(
    ("one", "other", "sign", "t"),
    [
        ({0: 1.0}, {0: 0.5}, 1.0, None),
        ({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}, None, None),
        ({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0}, 0.5, None),  # all differences are equal
        ({0: 2.0, 1: 3.0, 5: 9.0}, {0: 1.0, 1: 1.0, 7: 0.0}, 0.5, 0.2048),
    ],
)
def test_pairs_that_a_test_cannot_decide_have_no_p(one, other, sign, t):
    found = statistics.paired(one, other)
    assert found.sign == sign
    assert found.t == (t and pytest.approx(t, rel=1e-3))


def test_without_a_common_seed_nothing_is_paired():
    assert statistics.paired({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"top__classes": ["cat", "horse"]}, "their classes differ.*'<i>dog</i>'"),
        (
            {"top__data": {"source": "sha256:a", "target": "sha256:c"}},
            "their target data differ",
        ),
        ({"data__test_fraction": 0.5}, "data.test_fraction is None in one and 0.5"),
    ],
)
def test_other_data_are_refused_with_both_folders(folder, changes, words):
    change(folder / "2_1", **changes)
    with pytest.raises(errors.InputError, match=words) as refused:
        comparison.compare(folders(), "test")
    assert str(refused.value).startswith("0_0 and 2_1 cannot be compared: ")


def test_other_numbers_of_validation_labels_are_refused(folder):
    path = folder / "1_0" / "metrics.jsonl"
    path.write_text(path.read_text().replace('"labels_val": 0', '"labels_val": 5'))
    with pytest.raises(errors.InputError, match="0_0 and 1_0 have different budgets"):
        comparison.compare(folders(), "test")


def test_budgets_without_a_common_number_are_refused_and_others_are_cut(folder):
    task = made.task(folder, images="vectors")
    made.fill(folder / "more", task, rounds=3, accuracy=(0.4, 0.5, 0.6), name="more")
    done = comparison.compare(folders("0_0", "more"), "test")
    assert done.budget.labels == [3, 6]
    assert done.budget.notes == [
        "more goes on to 9 labels; it is compared at 6, the most that all runs have."
    ]
    made.fill(folder / "odd", task, per_round=5, name="odd")
    with pytest.raises(errors.InputError) as refused:
        comparison.compare(folders("0_0", "odd"), "test")
    assert str(refused.value) == (
        "0_0 and odd have different budgets: they have an accuracy at 3, 6 and at 5, "
        "10 target labels, at no number in common."
    )


def test_a_method_without_target_labels_is_a_level(folder):
    task = made.task(folder, images="vectors")
    made.fill(
        folder / "alone", task, rounds=1, per_round=0, accuracy=(0.3,), name="alone"
    )
    done = comparison.compare(folders("0_0", "alone"), "test")
    assert done.budget.labels == [3, 6]
    assert "| alone | 1 | 30.0 | - | - |" in tables.as_markdown(
        done.methods, done.budget
    )
    text = comparison.text(done, pathlib.Path("c.html"))
    assert re.search(r'class="line dotted" d="M46 [\d.]+H426"', text)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give the folders of runs and --output="),
        (["0_0"], "give the folders of runs and --output="),
        (["0_0", "--output=c.csv"], "--output=c.csv must end in .html"),
        (["0_0", "--output=no/c.html"], "there is no folder no; create it first"),
        (["0_0", "--output=there.html"], "exists: name another, or add --over"),
        (["0_0", "0_0/", "--output=c.html"], "0_0 is given twice"),
        (["0_0", "copy", "--output=c.html"], "0_0 and copy are the same method with"),
        (["nowhere", "--output=c.html"], "nowhere is not the folder of a run"),
        (["0_0", "--output=c.html", "--metric=validation"], "give --metric=test"),
        (["0_0", "--metric=best"], "metric"),
    ],
)
def test_mistakes_are_one_sentence(folder, arguments, words, capsys):
    pathlib.Path("there.html").write_text("mine")
    made.fill(
        folder / "copy",
        made.task(folder, images="vectors"),
        accuracy=(0.1, 0.2),
        name="clue",
        acquisition="a0",
    )
    with pytest.raises(SystemExit) as stop:
        compare.main(["compare", *arguments])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert pathlib.Path("there.html").read_text() == "mine"
    assert not pathlib.Path("c.html").exists()


def test_the_command_replaces_a_page_if_it_is_told_to(folder, capsys):
    pathlib.Path("c.html").write_text("old")
    names = [str(name) for name in folders()]
    compare.main(["compare", *names, "--output=c.html", "--overwrite"])
    assert "Written: c.html" in capsys.readouterr().out
    assert "<!DOCTYPE html>" in pathlib.Path("c.html").read_text()


def test_methods_of_one_name_are_told_apart_by_their_settings(folder):
    change(folder / "1_0", name="clue")
    done = comparison.compare(folders("0_0", "1_0"), "test")
    names = {method.name for method in done.methods}
    assert names == {"clue (acquisition=a0)", "clue (acquisition=a1)"}
