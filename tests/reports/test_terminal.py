"""Terminal output of a run and of a selection, with a clock that tests control."""

import contextlib
import io
import pathlib
import re
import time

import pytest
from rich import console as consoles

from dact_jax import run_types
from dact_jax.reports import terminal, waiting

ROW = {
    "event": "round",
    "round": 1,
    "step": 100,
    "labels_target": 20,
    "labels_val": 30,
    "source_samples": 1000,
    "test_accuracy": 0.834,
    "val_accuracy": None,
    "seconds": 12.34,
}
LINE = (
    "round 1: test 83.4 %, validation - with 20 target labels bought, 30 for "
    "validation, 1000 source samples; 12.3 s"
)


class Clock:
    """A clock whose time is set by the test."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


def console(*, terminal, width=120, kind="xterm"):
    clock = Clock()
    out = consoles.Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=width,
        get_time=clock,
        _environ={"TERM": kind},
    )
    return out, clock


def test_without_a_terminal_there_are_only_round_lines():
    out, _ = console(terminal=False, width=40)
    with terminal.run_progress([100] * 3, console=out) as show:
        show.step(1, 50, {"ce": 0.5})
        show.round(ROW)
        show.step(2, 50, {"ce": 0.5})
        show.round(ROW | {"round": 2, "val_accuracy": 0.5})
    assert out.file.getvalue().splitlines() == [
        LINE,
        LINE.replace("round 1", "round 2").replace("validation -", "validation 50.0 %"),
    ]


@pytest.mark.parametrize(
    "options", [{"terminal": False}, {"terminal": True, "kind": "dumb"}]
)
def test_without_a_bar_a_line_comes_from_time_to_time(options):
    out, clock = console(**options)
    with terminal.run_progress([100] * 3, console=out, every=0.01) as show:
        _until(out, "round 0; 0:00:00 so far\n")
        show.activity("compiling the training step")
        assert "\nround 0: compiling the training step\n" in out.file.getvalue()
        clock.seconds = 60.0
        show.partial(0, 1, {"ce": 0.5})
        clock.seconds = 62.0
        show.partial(0, 2, {"ce": 0.4})  # two seconds for a step, 298 are left
        _until(out, "round 0, step 2/100  ce 0.4; 0:01:02 so far, 0:09:56 left\n")
        show.activity("evaluating")
        _until(out, "round 0, step 2/100: evaluating; 0:01:02 so far")


def test_a_block_that_takes_long_says_so_without_a_terminal():
    for kind in ({"terminal": False}, {"terminal": True, "kind": "dumb"}):
        out, _ = console(**kind)
        with waiting.during("reading the data", console=out, every=0.01):
            _until(out, "reading the data, 0:00:00 so far\n")
    with waiting.during("reading the data", console=console(terminal=False)[0]):
        pass  # a short block prints nothing
    assert "\n" in out.file.getvalue()


def test_a_line_that_cannot_be_printed_is_no_traceback_of_a_thread(capsys):
    class Full(io.StringIO):
        def write(self, text):
            written.append(text)
            raise OSError(28, "No space left on device")

    written = []
    out = consoles.Console(file=Full(), force_terminal=False)
    with waiting.lines(out, lambda: "line", every=0.001):
        end = time.monotonic() + 30
        while not written:
            assert time.monotonic() < end
            time.sleep(0.001)
    assert capsys.readouterr().err == ""


def test_a_block_has_a_status_line_on_a_terminal():
    out, _ = console(terminal=True)
    with waiting.during("reading the data", console=out):
        pass
    assert "reading the data ..." in out.file.getvalue()
    assert out.file.getvalue().endswith("\x1b[2K")  # erased


def _until(out, text):
    """Waits for a line of another thread."""
    end = time.monotonic() + 30
    while text not in out.file.getvalue():
        assert time.monotonic() < end, out.file.getvalue()
        time.sleep(0.001)


def test_bar_and_round_lines_on_a_terminal():
    out, _ = console(terminal=True)
    with terminal.run_progress([100] * 3, console=out) as show:
        show.step(1, 50, {"ce": 0.4567, "entropy": 2.0})
        show.round(ROW)
        show.step(2, 25, {"ce": 0.4567, "entropy": 2.0})
    text = out.file.getvalue()
    assert LINE in text
    assert "\x1b[" in text
    assert "round 2, step 25/100  ce 0.457  entropy 2" in text
    assert "75%" in text


@pytest.mark.parametrize(
    ("start", "done", "left"),
    [((0, 0), (0, 60), "0:04:00"), ((1, 40), (1, 60), "0:02:20")],
)
def test_time_left_is_of_the_whole_run_and_ignores_steps_before_a_resume(
    start, done, left
):
    out, clock = console(terminal=True)
    with terminal.run_progress([100] * 3, start=start, console=out) as show:
        clock.seconds = 500.0  # compilation
        show.step(done[0], done[1] - 10, {})
        clock.seconds = 510.0
        show.step(*done, {})  # one step a second
    assert left in out.file.getvalue()


def test_time_left_includes_slow_selection():
    out, clock = console(terminal=True)
    with terminal.run_progress([100] * 3, console=out) as show:
        show.step(0, 1, {})
        clock.seconds = 99.0
        show.step(0, 100, {})
        show.round(ROW | {"round": 0})
        clock.seconds = 298.0  # the selection took 198 s
        show.step(1, 100, {})
    assert "0:02:30" in out.file.getvalue()  # 298 s for 199 steps, 100 left


def test_rounds_of_two_lengths():
    out, clock = console(terminal=True)
    with terminal.run_progress([200, 50, 50], start=(0, 100), console=out) as show:
        show.step(0, 110, {})
        clock.seconds = 90.0
        show.step(0, 200, {"ce": 1.0})  # one step a second
        show.round(ROW | {"round": 0})
        clock.seconds = 140.0
        show.step(1, 50, {"ce": 1.0})
        show.round(ROW)
        clock.seconds = 150.0
        show.step(2, 10, {"ce": 2.0})
    text = out.file.getvalue()
    assert "round 2, step 10/50  ce 2" in text
    assert "87%" in text  # 260 of 300
    assert "0:00:40" in text  # 40 steps are left


def test_a_stage_has_its_label_instead_of_a_round_number():
    out, _ = console(terminal=True)
    with terminal.run_progress([50], label="pre-training", console=out) as show:
        show.step(0, 25, {"ce": 1.0})
        show.round(ROW | {"round": 0})
    text = out.file.getvalue()
    assert "pre-training, step 25/50  ce 1" in text
    assert LINE.replace("round 1", "pre-training") in text
    assert "round 0" not in text


def test_names_of_losses_are_not_read_as_markup():
    out, _ = console(terminal=True)
    with terminal.run_progress([10], console=out) as show:
        show.step(0, 5, {"[red]ce": 1.0})
    assert "[red]ce 1" in out.file.getvalue()


def test_the_bar_is_erased_when_training_is_interrupted():
    out, _ = console(terminal=True)
    with (
        contextlib.suppress(KeyboardInterrupt),
        terminal.run_progress([10], console=out) as show,
    ):
        show.step(0, 5, {})
        raise KeyboardInterrupt
    assert out.file.getvalue().rstrip().endswith("\x1b[2K")  # the line is erased
    assert "\x1b[?25h" in out.file.getvalue()  # the cursor is back


def test_summary():
    rows = [
        ROW | {"event": "pretrain", "round": -1, "labels_target": 0},
        {"event": "train", "round": 0, "step": 5, "ce": 1.0},
        {"event": "eval", "round": 0, "step": 5, "test_accuracy": 0.4},
        ROW
        | {"round": 0, "labels_target": 10, "test_accuracy": 0.5, "val_accuracy": 1.0},
        ROW,
    ]
    assert terminal.summary(rows, pathlib.Path("runs/a/report.md")).splitlines() == [
        "Labels used: 20 target labels bought, 30 for validation, 1000 source samples.",
        "round  labels      test  validation  seconds",
        "    0      10    50.0 %     100.0 %     12.3",
        "    1      20    83.4 %           -     12.3",
        "Report: runs/a/report.md",
    ]
    (line,) = terminal.summary(rows[:3], pathlib.Path("r.md")).splitlines()
    assert "r.md" in line


def test_summary_counts_test_images():
    (first, *_) = terminal.summary(
        [ROW | {"test_images": 16}], pathlib.Path("r.md")
    ).splitlines()
    assert first.endswith("1000 source samples; 16 labeled images test.")


def test_lines_are_shown_as_they_are():
    out, _ = console(terminal=False)
    long = "[bold]x[/bold] " * 30 + "."
    terminal.show_lines([long, "b"], console=out)
    assert out.file.getvalue() == f"{long}\nb\n"


def test_lines_of_algorithm_2():
    out, _ = console(terminal=False)
    place = {"event": "select", "round": 0, "step": 0, "iteration": 2}
    trained = {"union": 510, "target_loss": 0.25, "ranking_loss": 0.5, "loss": 0.75}
    decided = {
        "accuracy_source": 0.625,
        "accuracy_target": 0.5,
        "source_samples": 1000,
        "labels_target": 20,
    }
    branches = ("source", "target", "spent")
    with terminal.run_progress([10], console=out) as show:
        show.select({**place, **trained})
        show.select({**place, "source_labels_read": 4000})  # nothing to show
        for branch in branches:
            show.select({**place, **decided, "branch": branch})
    first, *lines = out.file.getvalue().splitlines()
    assert re.findall(r"[\d.]+", first) == ["2", "2", "510", "0.25", "0.5"]
    assert [re.findall(r"[\d.]+", line) for line in lines] == [
        ["2", "2", "62.5", "1000", "50.0", "20"]
    ] * len(branches)
    outcomes = [line.split("; ")[1] for line in lines]
    assert "training set" in outcomes[0]
    assert "target labels are bought" in outcomes[1]
    assert "budget is spent" in outcomes[2]


def test_combined_shows_all_receive_each_call():
    calls = []

    def recorder(name):
        return run_types.Show(
            lambda *args: calls.append((name, "step", *args)),
            lambda row: calls.append((name, "round", row)),
            lambda row: calls.append((name, "select", row)),
            lambda *args: calls.append((name, "partial", *args)),
            lambda text: calls.append((name, "activity", text)),
            lambda row: calls.append((name, "evaluation", row)),
            lambda *args: calls.append((name, "picks", *args)),
        )

    silent = run_types.Show()
    show = terminal.combine(recorder("a"), silent, recorder("b"))
    show.step(1, 50, {"ce": 0.5})
    show.round({"r": 1})
    show.select({"s": 1})
    show.partial(1, 51, {"ce": 0.4})
    show.activity("evaluating")
    show.evaluation({"e": 1})
    show.picks(1, {}, 3)
    assert calls == [
        (name, *call)
        for call in (
            ("step", 1, 50, {"ce": 0.5}),
            ("round", {"r": 1}),
            ("select", {"s": 1}),
            ("partial", 1, 51, {"ce": 0.4}),
            ("activity", "evaluating"),
            ("evaluation", {"e": 1}),
            ("picks", 1, {}, 3),
        )
        for name in "ab"
    ]


def test_a_selection_shows_nothing_without_a_terminal():
    out, _ = console(terminal=False)
    with terminal.selection_progress(10, console=out) as report_progress:
        report_progress(3, 10)
        report_progress(10, 10)
    assert out.file.getvalue() == ""


@pytest.mark.parametrize(
    ("chosen", "left"),
    [(0, "0:00:44"), (10**6, "0:00:30")],  # 30 (1.99^1.3 - 1), and 30 * 0.99
)
def test_time_left_of_a_selection_expects_later_picks_to_take_longer(chosen, left):
    out, clock = console(terminal=True)
    with terminal.selection_progress(
        1990, chosen=chosen, console=out
    ) as report_progress:
        clock.seconds = 500.0  # compilation, and the rows chosen before
        report_progress(1, 1990)
        clock.seconds = 530.0
        report_progress(1000, 1990)
    text = out.file.getvalue()
    assert "left; reading the pool" in text
    assert "left; 1000 of 1990 picks" in text
    assert left in text
    assert "0:00:00" not in text


def test_the_bar_of_a_selection_is_erased_when_it_is_interrupted():
    out, _ = console(terminal=True)
    with (
        contextlib.suppress(KeyboardInterrupt),
        terminal.selection_progress(10, console=out) as report_progress,
    ):
        report_progress(5, 10)
        raise KeyboardInterrupt
    assert out.file.getvalue().rstrip().endswith("\x1b[2K")
    assert "\x1b[?25h" in out.file.getvalue()
