import pytest
from matplotlib import image

from dact_jax import curves, errors, report, workdir


def fill(folder, num_rounds, **extra):
    for r in range(num_rounds):
        labels = 10 * (r + 1)
        picks = [
            workdir.Pick(r, i, "target", f"img {i}", 0.5, "k_center", "0/20" * (r > 0))
            for i in range(10)
        ]
        workdir.append_picks(folder, picks)
        rows = [
            {"event": "train", "round": r, "step": s, "ce": 1 / (r + s), "entropy": 2.0}
            for s in (10, 20)
        ]
        row = {
            "event": "round",
            "round": r,
            "step": 20,
            "labels_target": labels,
            "labels_val": 30,
            "source_samples": 1000,
            "test_accuracy": 0.5 + 0.08 * r,
            "val_accuracy": 0.4 + 0.1 * r,
            "seconds": 10.0 + r,
        }
        workdir.append(folder, [*rows, row | extra])


def table(markdown, heading):
    """The cells of the table below a heading, without its rule."""
    section = markdown.split(f"## {heading}\n\n")[1].split("\n\n")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines()]
    assert len({len(line) for line in lines}) == 1
    return [lines[0], *lines[2:]]


def test_five_rounds(tmp_path):
    fill(tmp_path, 5)
    files = report.write(tmp_path, "Printed to handwritten", command="run --seed=1")
    text = files.markdown.read_text()
    assert text.startswith("# Printed to handwritten\n\nWith 50 target labels bought,")
    assert "right on 82.00 % of the target's test images; with 10, in its" in text
    assert "![Accuracy against target labels bought](learning_curve.png)" in text
    assert ["**target labels in all**", "80"] in table(text, "Labels used")
    head, *body = table(text, "Rounds")
    assert head[5:] == ["ce", "entropy", "seconds"]
    assert body[0] == ["0", "10", "1000", "50.00", "40.00", "0.05", "2", "10.0"]
    assert body[4][:5] == ["4", "50", "1000", "82.00", "80.00"]
    assert "evaluations in it: 60.0 s in all, 12.0 s a round" in text
    assert table(text, "Picks")[2] == ["1", "target", "k_center", "0/20", "10"]
    assert "```bash\nrun --seed=1\n```" in text
    assert "published" not in text
    assert image.imread(files.curve).std() > 0.01


def test_one_round_without_command_picks_or_validation(tmp_path):
    fill(tmp_path, 1, val_accuracy=None, labels_val=0)
    (tmp_path / workdir.PICKS).unlink()
    text = report.write(tmp_path, "UDA").markdown.read_text()
    assert table(text, "Rounds")[1][3:5] == ["50.00", "-"]
    assert "Rounds finished: 1." in text
    for absent in ("## Picks", "## To repeat", "in its first round"):
        assert absent not in text


def test_no_accuracy_is_known_without_labels(tmp_path):
    fill(tmp_path, 2, val_accuracy=None, test_accuracy=None)
    text = report.write(tmp_path, "Own images").markdown.read_text()
    assert "so no test accuracy is known. Rounds finished: 2." in text


def test_classes_and_published_numbers(tmp_path):
    fill(tmp_path, 2, labels_per_class={"dog|cat": 12, "house": 0})
    published = {"CLUE": [(10, 0.61), (25, 0.7)]}
    text = report.write(tmp_path, "x", reference=published).markdown.read_text()
    head, *body = table(text.replace("\\|", "/"), "Target labels of each class")
    assert head == ["class", "round 0", "round 1"]
    assert body == [["dog/cat", "12", "12"], ["house", "0", "0"]]
    assert table(text, "Beside published numbers")[1:] == [
        ["CLUE", "10", "61.00", "50.00"],
        ["CLUE", "25", "70.00", "-"],
    ]


def test_curve_shows_every_round_and_published_line(tmp_path):
    fill(tmp_path, 4)
    rounds = [row for row in workdir.read(tmp_path) if row["event"] == "round"]
    (axes,) = curves.by_labels(rounds, {"CLUE": [(10, 0.3), (60, 0.97)]}).axes
    test, validation, clue = axes.lines
    assert list(test.get_xdata()) == [10, 20, 30, 40]
    assert list(test.get_ydata()) == pytest.approx([50, 58, 66, 74])
    assert validation.get_marker() == "s"
    assert list(clue.get_ydata()) == [30, 97]
    low, high = axes.get_ylim()
    assert 0 <= low < 30
    assert 97 < high <= 101
    assert axes.get_xlim()[0] < 10
    assert axes.get_xlim()[1] > 60


def test_a_report_needs_a_finished_round(tmp_path):
    with pytest.raises(errors.InputError, match="no finished round yet"):
        report.write(tmp_path, "x")


def test_published_percent_is_refused(tmp_path):
    fill(tmp_path, 1)
    with pytest.raises(
        errors.InputError, match=r"'CLUE' has the accuracy 93\.3.*0\.933"
    ):
        report.write(tmp_path, "x", reference={"CLUE": [(50, 93.3)]})


SCORED = {
    "test_mean_class_accuracy": 0.45,
    "best_val": 0.6,
    "best_val_step": 10,
    "test_at_best_val": 0.48,
    "best_test": 0.55,
}


def test_three_networks_of_a_round_are_named_columns(tmp_path):
    fill(tmp_path, 1, **SCORED)
    text = report.write(tmp_path, "x").markdown.read_text()
    head, body = table(text, "Which network of a round")
    assert [name for name in head if "best by" in name] == [
        "best by validation: test %",
        "best by test: test %",
    ]
    assert body == ["0", "50.00", "45.00", "48.00", "10", "55.00"]
    assert "nothing here is selected by it" in text


def test_without_validation_the_best_by_it_is_unknown(tmp_path):
    unknown = {"best_val": None, "best_val_step": None, "test_at_best_val": None}
    fill(tmp_path, 1, **SCORED | unknown)
    text = report.write(tmp_path, "x").markdown.read_text()
    assert table(text, "Which network of a round")[1][3:5] == ["-", "-"]


def test_pretraining_is_told_with_its_accuracy(tmp_path):
    row = {"event": "pretrain", "round": -1, "step": 500, "test_accuracy": 0.4}
    workdir.append(tmp_path, [row])
    fill(tmp_path, 1)
    text = report.write(tmp_path, "x").markdown.read_text()
    assert "after 500 iterations on the source alone, it was right on 40.00 %" in text


def test_one_round_is_drawn_by_iteration(tmp_path):
    evaluations = [
        {"event": "eval", "round": 0, "step": s, "test_accuracy": a, "val_accuracy": v}
        for s, a, v in ((10, 0.3, None), (20, 0.5, 0.4))
    ]
    workdir.append(tmp_path, evaluations)
    fill(tmp_path, 1)
    text = report.write(tmp_path, "x").markdown.read_text()
    assert "![Accuracy against iterations](learning_curve.png)" in text
    (axes,) = curves.by_iteration(evaluations).axes
    test, validation = axes.lines
    assert list(test.get_xdata()) == [10, 20]
    assert list(test.get_ydata()) == pytest.approx([30, 50])
    assert list(validation.get_xdata()) == [20]
    assert axes.get_xlabel() == "iterations"


def test_no_table_of_classes_without_labels(tmp_path):
    fill(tmp_path, 1, labels_per_class={"dog": 0, "cat": 0})
    text = report.write(tmp_path, "x").markdown.read_text()
    assert "Target labels of each class" not in text
