import pytest
from matplotlib import image

from dact_jax import errors
from dact_jax.reports import captions, curves, report
from dact_jax.rounds import workdir


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
    assert ["**target labels in all**", "80"] in table(text, "Labels and work")
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


def choice(iteration, source, target, branch, **counts):
    """The rows of one iteration of Algorithm 2, as the policy writes them."""
    place = {"event": "select", "round": counts.pop("before"), "step": 0}
    seconds = {
        "seconds_training": 2.0,
        "seconds_scoring": 0.5,
        "seconds_selecting": 0.25,
    }
    decided = {
        "iteration": iteration,
        "accuracy_source": source,
        "accuracy_target": target,
        "branch": branch,
        "source_samples": counts["n"],
        "labels_target": counts["t_l"],
    }
    return [
        {**place, "line": "train", "union": counts["u"], **seconds},
        {**place, "line": "choose", "source_labels_read": counts["read"], **seconds},
        {**place, "line": "decide", **decided, **seconds},
    ]


def fill_d_act(folder, *, read):
    """Two iterations; 2000 source samples, 500 and then 1000 of which are used."""
    workdir.append(
        folder, choice(1, 0.5, 0.5, "target", before=0, u=10, n=500, t_l=10, read=read)
    )
    for number in (0, 1):
        row = {
            "event": "round",
            "round": number,
            "step": 20,
            "labels_target": 10 * (number + 1),
            "labels_val": 30,
            "source_samples": 500 * (number + 1),
            "source_pool": 2000,
            "test_accuracy": 0.6 + 0.1 * number,
            "val_accuracy": 0.5,
            "seconds": 10.0,
        }
        workdir.append(folder, [row])
        if number == 0:
            last = {"before": 1, "u": 20, "n": 1000, "t_l": 20, "read": read}
            workdir.append(folder, choice(2, 0.7, 0.6, "source", **last))


def costs(text):
    return dict(table(text, "Labels and work")[1:])


def test_the_ledger_of_d_act(tmp_path):
    fill_d_act(tmp_path, read=2000)
    text = report.write(tmp_path, "D_AcT").markdown.read_text()
    assert costs(text) == {
        "target labels bought or given, to train on": "20",
        "target labels for validation": "30",
        "**target labels in all**": "50",
        "source samples trained on, last round": "1000 of 2000",
        "source labels read, to score or to train": "2000",
        "seconds of training": "32.0",
        "seconds of scoring": "3.0",
        "seconds of selecting": "1.5",
    }
    assert "decide between source and target in Algorithm 2 (acc_s > acc_t)" in text
    assert "saves none of their labels, and choosing takes time of its own" in text
    assert (
        "20.0 s in the rounds, with the evaluations in it; 12.0 s on networks" in text
    )
    head, *body = table(text.replace("\\|", "/"), "Decisions of Algorithm 2")
    assert head[2:7] == ["/U/", "N", "/T_l/", "acc_s %", "acc_t %"]
    assert body == [
        ["1", "0", "10", "500", "10", "50.00", "50.00", "buy target labels"],
        ["2", "1", "20", "1000", "20", "70.00", "60.00", "the source samples join U"],
    ]


def test_a_score_that_reads_no_label_saves_labels(tmp_path):
    fill_d_act(tmp_path, read=1000)
    text = report.write(tmp_path, "D_AcT").markdown.read_text()
    assert costs(text)["source labels read, to score or to train"] == "1000"
    assert "saves none of their labels" not in text


def test_pretraining_reads_all_of_the_source(tmp_path):
    row = {
        "event": "pretrain",
        "round": -1,
        "step": 500,
        "test_accuracy": 0.4,
        "source_samples": 2000,
        "source_pool": 2000,
        "seconds": 7.0,
    }
    workdir.append(tmp_path, [row])
    fill_d_act(tmp_path, read=1000)
    text = report.write(tmp_path, "D_AcT").markdown.read_text()
    assert costs(text)["source labels read, to score or to train"] == "2000"
    assert costs(text)["seconds of training"] == "39.0"
    assert "Pre-training read the label of every source sample" in text
    assert "7.0 s before round 0" in text
    assert "saves none of their labels" not in text


def test_what_the_validation_labels_decide_is_told(tmp_path):
    fill(tmp_path, 2)
    text = report.write(tmp_path, "x").markdown.read_text()
    assert "The validation labels decide nothing" in text
    assert "seconds of scoring" not in costs(text)  # a run before such rows were
    text = report.write(tmp_path, "x", keep="best_val").markdown.read_text()
    assert "The validation labels choose the network of a round that goes on" in text


def test_without_validation_labels_nothing_is_said_of_them(tmp_path):
    fill(tmp_path, 1, labels_val=0, val_accuracy=None)
    text = report.write(tmp_path, "x").markdown.read_text()
    assert "validation labels" not in text


def test_labels_bought_after_the_last_training_count_too(tmp_path):
    fill(tmp_path, 2)
    row = {"event": "select", "round": 2, "step": 0, "labels_target": 30}
    workdir.append(tmp_path, [row])
    text = report.write(tmp_path, "x").markdown.read_text()
    assert costs(text)["target labels bought or given, to train on"] == "30"


def test_accuracy_is_drawn_against_the_source_where_it_changed(tmp_path):
    fill_d_act(tmp_path, read=2000)
    text = report.write(tmp_path, "x").markdown.read_text()
    assert "![Accuracy against source samples](source_curve.png)" in text
    assert "not the effect of the source alone" in text
    assert image.imread(tmp_path / "source_curve.png").std() > 0.01
    rounds = [row for row in workdir.read(tmp_path) if row["event"] == "round"]
    (axes,) = curves.by_source(rounds).axes
    assert list(axes.lines[0].get_xdata()) == [500, 1000]
    assert list(axes.lines[0].get_ydata()) == pytest.approx([60, 70])
    assert axes.get_xlabel() == "source samples used"


def test_trials_of_algorithm_2_are_drawn_where_every_round_had_all_of_n(tmp_path):
    fill(tmp_path, 2, source_samples=2000, source_pool=4000)
    for size, accuracy in ((1000, 0.5), (2000, 0.75)):
        row = {
            "event": "select",
            "round": 0,
            "step": 0,
            "iteration": size // 1000,
            "branch": "source",
            "accuracy_source": accuracy,
            "accuracy_target": 0.25,
            "source_samples": size,
            "labels_target": 10,
        }
        workdir.append(tmp_path, [row])
    text = report.write(tmp_path, "x").markdown.read_text()
    assert "](source_curve.png)" in text
    assert "Trials are the copies of the scoring network" in text
    assert "not the effect of the source alone" not in text  # nothing else changed
    rows = workdir.read(tmp_path)
    decisions = [row for row in rows if "branch" in row]
    rounds = [row for row in rows if row["event"] == "round"]
    (axes,) = curves.by_source(rounds, decisions).axes
    drawn = {line.get_label(): line for line in axes.lines}
    on_n = drawn["trial on N: validation"]
    assert list(on_n.get_xdata()) == [1000, 2000]
    assert list(on_n.get_ydata()) == [50, 75]
    assert list(drawn["round: test"].get_xdata()) == [2000, 2000]


@pytest.mark.parametrize(
    ("pool", "told"),
    [
        ({}, "The whole source (1000 samples) was used in every round."),
        ({"source_pool": 1000}, "The whole source (1000 samples) was used in every"),
        ({"source_pool": 4000}, "The same number of source samples, 1000 of 4000, was"),
    ],
)
def test_a_source_that_stayed_the_same_needs_no_curve(tmp_path, pool, told):
    fill(tmp_path, 2, **pool)
    text = report.write(tmp_path, "x").markdown.read_text()
    assert told in text
    assert not (tmp_path / "source_curve.png").exists()


def test_pictures_that_are_there_are_shown_and_explained(tmp_path):
    fill(tmp_path, 1)
    (tmp_path / captions.FEATURE_MAPS).write_bytes(b"")
    text = report.write(tmp_path, "x", command="run").markdown.read_text()
    shown = [name for name in captions.CAPTIONS if f"({name})" in text]
    assert shown == [captions.FEATURE_MAPS]
    assert "Each row is an image as the network sees it" in text
    assert text.index("What the stages") < text.index("## To repeat or resume")
