"""What the report of a run contains, from rows of metrics.jsonl and picks.csv."""

import re

import pytest
from matplotlib import figure, image

from dact_jax import errors
from dact_jax.data import left_out
from dact_jax.reports import curves
from dact_jax.reports.pictures import captions
from dact_jax.rounds import workdir
from dact_jax.types import LeftOut
from tests.reports import reporting

COSTS = "Labels and computing time"
BOUGHT = "target labels for training, bought or given"
LABELS_READ = "source labels read, to score or to train"
NETWORKS = "Three networks of each round"
# Parts of sentences that a report contains or not.
UNSAVED = "no source label is saved"
MIXED = "not show the effect of the source alone"
DECIDE_NOTHING = "validation labels decide nothing"
TRIALS = "two copies of the loss predictor on the"


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
    """The cells of the table below a heading, without the rule below its head."""
    section = markdown.split(f"## {heading}\n\n")[1].split("\n\n")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines()]
    assert len({len(line) for line in lines}) == 1
    return [lines[0], *lines[2:]]


def summary(markdown):
    """The numbers of the first paragraph."""
    return re.findall(r"[0-9.]*[0-9]", markdown.split("\n\n")[1])


def test_five_rounds(tmp_path):
    fill(tmp_path, 5)
    files = reporting.write(tmp_path, "Printed to handwritten", command="run --seed=1")
    text = files.markdown.read_text()
    assert text.startswith("# Printed to handwritten\n\n")
    assert summary(text) == ["50", "82.00", "10", "50.00", "5"]
    assert "](learning_curve.png)" in text
    assert dict(table(text, COSTS))["**target labels in total**"] == "80"
    head, *body = table(text, "Rounds")
    assert head[5:] == ["ce", "entropy", "seconds"]
    assert body[0] == ["0", "10", "1000", "50.00", "40.00", "0.05", "2", "10.0"]
    assert body[4][:5] == ["4", "50", "1000", "82.00", "80.00"]
    assert "60.0 s in total, 12.0 s per round" in text
    assert "Round 0 trains on the first 10 target labels; its network then" in text
    assert "loss is what was minimized in total" in text
    head, *body = table(text, "Picks")
    assert head[1:] == ["pool", "acquisition", "checkpoint", "picks"]
    assert body[0] == ["0", "target", "k_center", "-", "10"]
    assert body[1] == ["1", "target", "k_center", "0/20", "10"]
    assert "predictor/" not in text
    assert workdir.PICKS in text
    assert "```bash\nrun --seed=1\n```" in text
    assert "published" not in text
    assert image.imread(files.curve).std() > 0.01
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "learning_curve.png",
        workdir.METRICS,
        workdir.PICKS,
        "report.md",
    ]


def test_one_round_without_command_picks_or_validation(tmp_path):
    fill(tmp_path, 1, val_accuracy=None, labels_val=0)
    (tmp_path / workdir.PICKS).unlink()
    text = reporting.write(tmp_path, "UDA").markdown.read_text()
    rounds_table = table(text, "Rounds")
    assert "validation %" not in rounds_table[0]  # no round has one
    assert rounds_table[1][3] == "50.00"
    assert "Round 0 trains" not in text
    assert summary(text) == ["10", "50.00", "1"]
    assert "## Picks" not in text
    assert "```bash" not in text


def test_without_test_labels_only_the_number_of_rounds_is_known(tmp_path):
    fill(tmp_path, 2, val_accuracy=None, test_accuracy=None)
    text = reporting.write(tmp_path, "Own images").markdown.read_text()
    assert summary(text) == ["2"]
    assert not {"test %", "validation %"} & {*table(text, "Rounds")[0]}


def test_picks_by_the_loss_predictor_name_its_iteration(tmp_path):
    fill(tmp_path, 1)
    pick = workdir.Pick(0, 0, "source", "a", 0.5, "predicted_loss", "predictor/2")
    workdir.append_picks(tmp_path, [pick])
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert table(text, "Picks")[2] == [
        *("0", "source", "predicted_loss", "predictor/2", "1")
    ]
    assert text.count("predictor/2") == 2  # in the table and below it


def test_classes_and_published_numbers(tmp_path):
    fill(tmp_path, 2, labels_per_class={"dog|cat": 12, "house": 0})
    published = {"CLUE": [(10, 0.61), (25, 0.7)]}
    text = reporting.write(tmp_path, "x", reference=published).markdown.read_text()
    head, *body = table(text.replace("&#124;", "/"), "Target labels per class")
    assert head == ["class", "round 0", "round 1"]
    assert body == [["dog/cat", "12", "12"], ["house", "0", "0"]]
    assert table(text, "Comparison with published results")[1:] == [
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
    assert 97 < high <= 100
    assert axes.get_xlim()[0] < 10
    assert axes.get_xlim()[1] > 60


def test_intervals_and_the_baseline_stay_within_0_and_100(tmp_path):
    counts = {"test_images": 20, "labels_per_class": dict.fromkeys("abcd", 1)}
    fill(tmp_path, 2, **counts | {"test_accuracy": 1.0, "val_accuracy": 0.0})
    rounds = [row for row in workdir.read(tmp_path) if row["event"] == "round"]
    fig = curves.by_labels(rounds, {}, curves.Baseline("guessing", 0.25))
    (axes,) = fig.axes
    assert axes.get_ylim() == (0, 100)
    assert len(axes.collections) == 2  # the bars of test and of validation
    low, high = axes.collections[0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((83.9, 100), abs=0.1)
    low, high = axes.collections[1].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((0, 11.4), abs=0.1)
    assert list(axes.lines[2].get_ydata()) == [25, 25]
    labels = [text.get_text() for text in fig.legends[0].get_texts()]
    assert labels == ["test", "validation", "guessing"]


def test_the_baseline_is_the_source_alone_where_it_was_measured(tmp_path, monkeypatch):
    drawn = []
    original = curves.by_labels
    monkeypatch.setattr(
        curves, "by_labels", lambda *args: drawn.append(args[2]) or original(*args)
    )
    fill(tmp_path, 2, labels_per_class={"a": 1, "b": 0})
    reporting.write(tmp_path, "x")
    row = {"event": "pretrain", "round": -1, "step": 500, "test_accuracy": 0.4}
    workdir.append(tmp_path, [row])
    reporting.write(tmp_path, "x")
    assert [line.accuracy for line in drawn] == [0.5, 0.4]


def test_without_any_accuracy_no_axes_are_drawn(tmp_path):
    unknown = {"test_accuracy": None, "val_accuracy": None, "labels_val": 0}
    fill(tmp_path, 2, **unknown)
    files = reporting.write(tmp_path, "x")
    assert not files.curve.exists()
    assert "learning_curve" not in files.markdown.read_text()
    rows = [row for row in workdir.read(tmp_path) if row["event"] == "round"]
    assert curves.by_source(rows) is None
    assert curves.by_iteration(rows) is None


def test_names_from_outside_are_no_markdown(tmp_path):
    fill(tmp_path, 1, labels_per_class={"<img src=x onerror=f()>": 1, "a\n## b": 0})
    hostile = "x\n# y [z](javascript:f()) <script>"
    published = {"[a](b) | <i>\n_": [(10, 0.5)]}
    files = reporting.write(
        tmp_path, hostile, reference=published, command="run '```\n'"
    )
    text = files.markdown.read_text()
    assert re.findall("^# .*", text, re.MULTILINE) == [
        r"# x \# y \[z\](javascript:f()) &lt;script&gt;"
    ]
    assert "<" not in text
    assert "\n## b" not in text
    assert text.endswith("````bash\nrun '```\n'\n````\n")


def test_a_report_needs_a_finished_round(tmp_path):
    with pytest.raises(errors.InputError, match=workdir.METRICS):
        reporting.write(tmp_path, "x")


def test_published_accuracy_in_percent_is_rejected(tmp_path):
    fill(tmp_path, 1)
    with pytest.raises(errors.InputError, match=r"'CLUE'.* 93\.3,.* 0\.933"):
        reporting.write(tmp_path, "x", reference={"CLUE": [(50, 93.3)]})


EVALUATED = {
    "event": "eval",
    "round": 0,
    "step": 10,
    "test_accuracy": 0.55,
    "val_accuracy": 0.6,
}
SCORED = {
    "test_mean_class_accuracy": 0.45,
    "best_val": 0.6,
    "best_val_step": 10,
    "test_at_best_val": 0.48,
    "best_test": 0.55,
}


def test_three_networks_of_a_round_are_named_columns(tmp_path):
    fill(tmp_path, 1, **SCORED)
    text = reporting.write(tmp_path, "x").markdown.read_text()
    # Without an evaluation within the round the three are one network.
    assert NETWORKS not in text
    head, body = table(text, "Rounds")
    assert head[4] == "test %, mean over classes"
    assert body[3:6] == ["50.00", "45.00", "40.00"]
    workdir.append(tmp_path, [EVALUATED])
    text = reporting.write(tmp_path, "x").markdown.read_text()
    head, body = table(text, NETWORKS)
    assert head[1:] == [
        "last: test %",
        "best by validation: test %",
        "best by validation: iteration",
        "best by test: test %",
    ]
    assert body == ["0", "50.00", "48.00", "10", "55.00"]
    assert "optimistic" in text


def test_without_validation_there_is_no_best_by_validation(tmp_path):
    unknown = {"best_val": None, "best_val_step": None, "test_at_best_val": None}
    fill(tmp_path, 1, **SCORED | unknown)
    workdir.append(tmp_path, [EVALUATED | {"val_accuracy": None}])
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert table(text, NETWORKS)[1][2:4] == ["-", "-"]


def test_pretraining_has_its_iterations_and_accuracy(tmp_path):
    row = {"event": "pretrain", "round": -1, "step": 500, "test_accuracy": 0.4}
    workdir.append(tmp_path, [row])
    fill(tmp_path, 1)
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert re.search(r"\b500 iterations\b.* 40\.00 %", text)


def test_one_round_is_drawn_by_iteration(tmp_path):
    evaluations = [
        {"event": "eval", "round": 0, "step": s, "test_accuracy": a, "val_accuracy": v}
        for s, a, v in ((10, 0.3, None), (20, 0.5, 0.4))
    ]
    workdir.append(tmp_path, evaluations)
    fill(tmp_path, 1)
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert "iterations](learning_curve.png)" in text
    (axes,) = curves.by_iteration(evaluations).axes
    test, validation = axes.lines
    assert list(test.get_xdata()) == [10, 20]
    assert list(test.get_ydata()) == pytest.approx([30, 50])
    assert list(validation.get_xdata()) == [20]
    assert axes.get_xlabel() == "iterations"


@pytest.mark.parametrize("counts", [{"dog": 0, "cat": 0}, {}, None])
def test_no_table_of_classes_without_labels(tmp_path, counts):
    fill(tmp_path, 1, labels_per_class=counts)
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert "## Target labels per class" not in text


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


def test_where_labels_are_is_quoted_as_it_is(tmp_path):
    fill(tmp_path, 1)
    lines = ["Source a: 3 of <img>.", "Target b*: `2` |"]
    text = reporting.write(tmp_path, "x", labels=lines).markdown.read_text()
    assert "## Where the labels are\n\n```text\n" + "\n".join(lines) + "\n```\n" in text
    assert "## Where" not in reporting.write(tmp_path, "x").markdown.read_text()


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
    return dict(table(text, COSTS)[1:])


def test_costs_and_decisions_of_d_act(tmp_path):
    fill_d_act(tmp_path, read=2000)
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert costs(text) == {
        BOUGHT: "20",
        "target labels for validation": "30",
        "**target labels in total**": "50",
        "source samples trained on, last round": "1000 of 2000",
        LABELS_READ: "2000",
        "training time (s)": "32.0",
        "scoring time (s)": "3.0",
        "selection time (s)": "1.5",
    }
    assert "Algorithm 2 (acc_s > acc_t): they are part of the label budget" in text
    assert UNSAVED in text
    times = re.search("Training time: .*", text)[0]
    assert re.findall(r"[\d.]+ s\b", times) == ["20.0 s", "12.0 s"]
    head, *body = table(text.replace("&#124;", "/"), "Decisions of Algorithm 2")
    assert head[2:7] == ["/U/", "N", "/T_l/", "acc_s %", "acc_t %"]
    assert body == [
        ["1", "0", "10", "500", "10", "50.00", "50.00", "buy target labels"],
        ["2", "1", "20", "1000", "20", "70.00", "60.00", "add the source samples to U"],
    ]


def test_a_score_that_reads_no_label_saves_labels(tmp_path):
    fill_d_act(tmp_path, read=1000)
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert costs(text)[LABELS_READ] == "1000"
    assert UNSAVED not in text


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
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert costs(text)[LABELS_READ] == "2000"
    assert costs(text)["training time (s)"] == "39.0"
    assert "\n\nPre-training read the label" in text
    assert "7.0 s before round 0" in text
    assert UNSAVED not in text


def test_what_the_validation_labels_decide(tmp_path):
    fill(tmp_path, 2)
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert DECIDE_NOTHING in text
    assert "scoring time (s)" not in costs(text)  # older runs have no source_pool
    text = reporting.write(tmp_path, "x", keep="best_val").markdown.read_text()
    assert DECIDE_NOTHING not in text
    assert "choose the network that each round keeps: they are part of the" in text


def test_without_validation_labels_there_is_nothing_on_their_use(tmp_path):
    fill(tmp_path, 1, labels_val=0, val_accuracy=None)
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert "validation labels" not in text


def test_labels_bought_after_the_last_training_count_too(tmp_path):
    fill(tmp_path, 2)
    row = {"event": "select", "round": 2, "step": 0, "labels_target": 30}
    workdir.append(tmp_path, [row])
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert costs(text)[BOUGHT] == "30"


def test_accuracy_is_drawn_against_the_source_where_it_changed(tmp_path):
    fill_d_act(tmp_path, read=2000)
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert "](source_curve.png)" in text
    assert MIXED in text
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
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert "](source_curve.png)" in text
    assert TRIALS in text
    assert MIXED not in text  # the number of target labels did not change
    rows = workdir.read(tmp_path)
    decisions = [row for row in rows if "branch" in row]
    rounds = [row for row in rows if row["event"] == "round"]
    (axes,) = curves.by_source(rounds, decisions).axes
    drawn = {line.get_label(): line for line in axes.lines}
    on_n = drawn["loss predictor, trained on the\nchosen source: validation"]
    assert list(on_n.get_xdata()) == [1000, 2000]
    assert list(on_n.get_ydata()) == [50, 75]
    assert list(drawn["classifier: test"].get_xdata()) == [2000, 2000]


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ({}, "all 1000 source samples"),
        ({"source_pool": 1000}, "all 1000 source samples"),
        ({"source_pool": 4000}, "1000 of 4000 source samples"),
    ],
)
def test_a_constant_source_has_a_sentence_instead_of_a_curve(tmp_path, pool, words):
    fill(tmp_path, 2, **pool)
    text = reporting.write(tmp_path, "x").markdown.read_text()
    assert words in text
    assert TRIALS not in text
    assert not (tmp_path / "source_curve.png").exists()


def test_existing_pictures_are_shown_with_their_captions(tmp_path):
    fill(tmp_path, 1)
    (tmp_path / captions.FEATURE_MAPS).write_bytes(b"")
    text = reporting.write(tmp_path, "x", command="run").markdown.read_text()
    shown = [name for name in captions.CAPTIONS if f"({name})" in text]
    assert shown == [captions.FEATURE_MAPS]
    heading, caption = captions.CAPTIONS[captions.FEATURE_MAPS]
    place = text.index(f"## {heading}\n\n![{heading}]({captions.FEATURE_MAPS})")
    assert place < text.index(caption) < text.index("```bash")


def test_a_failure_while_drawing_keeps_the_old_curve(tmp_path, monkeypatch):
    fill(tmp_path, 2)
    curve = reporting.write(tmp_path, "x").curve
    before = curve.read_bytes()

    def fail(self, path, **options):
        path.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure.Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        reporting.write(tmp_path, "x")
    assert curve.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 4  # no draft is left


def test_files_left_out_are_named(tmp_path):
    fill(tmp_path, 1)
    assert "left out" not in reporting.write(tmp_path, "x").markdown.read_text()
    files = [LeftOut(f"b/{i:02}|\n.heic", "no image") for i in range(23)]
    left_out.write(tmp_path, {"target": files})
    text = reporting.write(tmp_path, "x").markdown.read_text()
    section = text.split("## Files left out\n\n")[1]
    assert "23 files" in section.splitlines()[0]
    assert left_out.FILE in section
    assert section.count("| no image |") == 20
    assert "b/19" in section
    assert "b/20" not in section
