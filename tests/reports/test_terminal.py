import contextlib
import io
import pathlib

import pytest
from rich import console as consoles

from dact_jax import run_types
from dact_jax.reports import terminal

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
    """Seconds that only pass when told to."""

    now = 0.0

    def __call__(self):
        return self.now


def console(*, terminal, width=120):
    clock = Clock()
    made = consoles.Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=width,
        get_time=clock,
        _environ={"TERM": "xterm"},
    )
    return made, clock


def test_only_round_lines_where_there_is_no_terminal():
    out, _ = console(terminal=False, width=40)
    with terminal.make([100] * 3, console=out) as show:
        show.step(1, 50, {"ce": 0.5})
        show.round(ROW)
        show.step(2, 50, {"ce": 0.5})
        show.round(ROW | {"round": 2, "val_accuracy": 0.5})
    assert out.file.getvalue().splitlines() == [
        LINE,
        LINE.replace("round 1", "round 2").replace("validation -", "validation 50.0 %"),
    ]


def test_bar_and_round_lines_on_a_terminal():
    out, _ = console(terminal=True)
    with terminal.make([100] * 3, console=out) as show:
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
    with terminal.make([100] * 3, start=start, console=out) as show:
        clock.now = 500.0  # compilation
        show.step(done[0], done[1] - 10, {})
        clock.now = 510.0
        show.step(*done, {})  # one step a second
    assert left in out.file.getvalue()


def test_time_left_remembers_slow_selection():
    out, clock = console(terminal=True)
    with terminal.make([100] * 3, console=out) as show:
        show.step(0, 1, {})
        clock.now = 99.0
        show.step(0, 100, {})
        show.round(ROW | {"round": 0})
        clock.now = 298.0  # the selection took 198 s
        show.step(1, 100, {})
    assert "0:02:30" in out.file.getvalue()  # 298 s for 199 steps, 100 left


def test_rounds_of_two_lengths():
    out, clock = console(terminal=True)
    with terminal.make([200, 50, 50], start=(0, 100), console=out) as show:
        show.step(0, 110, {})
        clock.now = 90.0
        show.step(0, 200, {"ce": 1.0})  # one step a second
        show.round(ROW | {"round": 0})
        clock.now = 140.0
        show.step(1, 50, {"ce": 1.0})
        show.round(ROW)
        clock.now = 150.0
        show.step(2, 10, {"ce": 2.0})
    text = out.file.getvalue()
    assert "round 2, step 10/50  ce 2" in text
    assert "87%" in text  # 260 of 300
    assert "0:00:40" in text  # 40 steps are left


def test_a_stage_goes_by_its_own_name():
    out, _ = console(terminal=True)
    with terminal.make([50], label="pre-training", console=out) as show:
        show.step(0, 25, {"ce": 1.0})
        show.round(ROW | {"round": 0})
    text = out.file.getvalue()
    assert "pre-training, step 25/50  ce 1" in text
    assert LINE.replace("round 1", "pre-training") in text
    assert "round 0" not in text


def test_names_of_losses_are_no_markup():
    out, _ = console(terminal=True)
    with terminal.make([10], console=out) as show:
        show.step(0, 5, {"[red]ce": 1.0})
    assert "[red]ce 1" in out.file.getvalue()


def test_the_bar_goes_away_when_training_fails():
    out, _ = console(terminal=True)
    with (
        contextlib.suppress(KeyboardInterrupt),
        terminal.make([10], console=out) as show,
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
    assert "No round is finished" in terminal.summary(rows[:3], pathlib.Path("r.md"))


@pytest.mark.parametrize(
    ("branch", "told"),
    [
        ("source", "the source helps more, and joins what the predictor is trained on"),
        ("target", "the source does not help more, so target labels are bought"),
        ("spent", "the source does not help more, but all target labels are bought"),
    ],
)
def test_what_d_act_decides_is_told(branch, told):
    out, _ = console(terminal=False)
    place = {"event": "select", "round": 0, "step": 0, "iteration": 2}
    trained = {"union": 510, "target_loss": 0.25, "ranking_loss": 0.5, "loss": 0.75}
    decided = {
        "branch": branch,
        "accuracy_source": 0.5,
        "accuracy_target": 0.5,
        "source_samples": 1000,
        "labels_target": 20,
    }
    with terminal.make([10], console=out) as show:
        show.select({**place, **trained})
        show.select({**place, "source_labels_read": 4000})  # nothing to say
        show.select({**place, **decided})
    first, second = out.file.getvalue().splitlines()
    assert first == (
        "choice 2: loss predictor trained on 510 samples; target loss 0.25, ranking "
        "loss 0.5"
    )
    assert second == (
        "choice 2: 1000 source samples give 50.0 % on validation, 20 target labels "
        f"50.0 %: {told}"
    )


def test_all_are_told_of_a_selection():
    heard = []
    shows = [run_types.Show(select=heard.append) for _ in range(2)]
    terminal.join(*shows, run_types.Show()).select({"a": 1})
    assert heard == [{"a": 1}] * 2


def test_a_selection_shows_nothing_where_there_is_no_terminal():
    out, _ = console(terminal=False)
    with terminal.picks(10, console=out) as told:
        told(3, 10)
        told(10, 10)
    assert out.file.getvalue() == ""


@pytest.mark.parametrize(
    ("chosen", "left"),
    [(0, "0:00:44"), (10**6, "0:00:30")],  # 30 (1.99^1.3 - 1), and 30 * 0.99
)
def test_time_left_of_a_selection_counts_that_picks_get_dearer(chosen, left):
    out, clock = console(terminal=True)
    with terminal.picks(1990, chosen=chosen, console=out) as told:
        clock.now = 500.0  # comparing the pool with what is chosen, and compilation
        told(1, 1990)
        clock.now = 530.0
        told(1000, 1990)
    text = out.file.getvalue()
    assert "left; reading the pool" in text
    assert "left; 1000 of 1990 picks" in text
    assert left in text
    assert "0:00:00" not in text


def test_the_bar_of_a_selection_goes_away_when_it_is_stopped():
    out, _ = console(terminal=True)
    with (
        contextlib.suppress(KeyboardInterrupt),
        terminal.picks(10, console=out) as told,
    ):
        told(5, 10)
        raise KeyboardInterrupt
    assert out.file.getvalue().rstrip().endswith("\x1b[2K")
    assert "\x1b[?25h" in out.file.getvalue()
