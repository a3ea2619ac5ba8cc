"""Output of a run on the terminal: a progress bar, one line per round, a summary."""

import contextlib
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import rich.console
import rich.progress
import rich.table

from dact_jax.reports import asking, waiting
from dact_jax.run_types import Show
from dact_jax.types import Row

# The time of a selection grows as this power of the number of centers. Measured for
# k-center on pools of 200 000 rows and budgets of 20 000: 1.1 to 1.5, by distribution.
_TIME_EXPONENT = 1.3


@contextlib.contextmanager
def run_progress(
    lengths: Sequence[int],
    *,
    start: tuple[int, int] = (0, 0),
    label: str = "",
    console: rich.console.Console | None = None,
    every: float = waiting.EVERY,
) -> Iterator[Show]:
    """Shows a run: a bar with the time left, and one line per round.

    Where there is no terminal, a line every 30 seconds takes the place of the bar. The
    time left is that of the whole run. It is estimated from the steps after the first
    report of this process, so it excludes steps before a resume and the first
    compilation, but includes evaluation and selection between rounds.

    Args:
      lengths: iterations of each round of the whole run.
      start: (round, iterations done in it) of the checkpoint that a resumed run
        starts from.
      label: name of a round; its number if empty.
      console: stdout by default.
      every: seconds between two lines where there is no terminal.
    """
    console = console or rich.console.Console()
    bar = _bar(console)

    def run_step(number: int, step: int) -> int:
        return sum(lengths[:number]) + step

    first = label or f"round {start[0]}"
    task = bar.add_task(
        f"left; {first}",
        total=sum(lengths),
        completed=run_step(*start),
        position=first,  # the last that was shown
    )

    def show_step(number: int, step: int, losses: Mapping[str, float]) -> None:
        values = "  ".join(f"{name} {value:.3g}" for name, value in losses.items())
        position = f"{label or f'round {number}'}, step {step}/{lengths[number]}"
        bar.update(
            task,
            completed=run_step(number, step),
            description=f"left; {position}  {values}",
            position=position,
        )

    def show_round(row: Row) -> None:
        bar.update(task, completed=run_step(row["round"] + 1, 0))
        line = f"{label or 'round {}'.format(row['round'])}: {_round_line(row)}"
        waiting.say(console, line)

    def show_select(row: Row) -> None:
        if line := _selection_line(row):
            waiting.say(console, line)

    def show_activity(text: str) -> None:
        line = f"{bar.tasks[0].fields['position']}: {text}"
        bar.update(task, description=f"left; {line}")
        if text.startswith("compiling") and not waiting.has_bar(console):
            waiting.say(console, line)

    def line() -> str:
        state = bar.tasks[0]
        left = state.time_remaining
        tail = "" if left is None else f", {waiting.duration(left)} left"
        what = state.description.removeprefix("left; ")
        return f"{what}; {waiting.duration(state.elapsed or 0.0)} so far{tail}"

    with bar, waiting.lines(console, line, every=every):
        yield Show(show_step, show_round, show_select, show_step, show_activity)


@contextlib.contextmanager
def selection_progress(
    budget: int, *, chosen: int = 0, console: rich.console.Console | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Shows a selection: a bar with the time left on a terminal, nothing elsewhere.

    Each pick is one more center that the pool is compared with, so later picks take
    longer. The bar therefore measures work, centers to the power of 1.3, rather than
    picks. There is no time left before the first report, while the pool is compared
    with the rows that are already chosen.

    Args:
      budget: number of picks to make.
      chosen: number of rows chosen before, which are centers too.
      console: stdout by default.

    Yields:
      report_progress: to be called with (picks so far, budget) from time to time.
    """
    bar = _bar(console or rich.console.Console())

    def work(picks: int) -> float:
        return (chosen + picks) ** _TIME_EXPONENT - chosen**_TIME_EXPONENT

    task = bar.add_task("left; reading the pool", total=work(budget), start=False)

    def report_progress(picks: int, budget: int) -> None:
        bar.start_task(task)
        description = f"left; {picks} of {budget} picks"
        bar.update(task, completed=work(picks), description=description)

    with bar:
        yield report_progress


def _bar(console: rich.console.Console) -> rich.progress.Progress:
    """One line with a bar, the share done and the time left; erased at the end."""
    return rich.progress.Progress(
        rich.progress.BarColumn(bar_width=20),
        rich.progress.TaskProgressColumn(table_column=_uncut()),
        rich.progress.TimeRemainingColumn(table_column=_uncut()),
        rich.progress.TextColumn(
            "{task.description}",
            markup=False,
            table_column=rich.table.Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        expand=True,
        console=console,
        transient=True,
        disable=not waiting.has_bar(console),
        speed_estimate_period=math.inf,  # a shorter window would miss selection
    )


def _uncut() -> rich.table.Column:
    """A column that a narrow terminal does not cut."""
    return rich.table.Column(no_wrap=True, min_width=len("0:00:00"))


def combine(*shows: Show) -> Show:
    """A Show that forwards each call to all of the given ones, in order."""

    def forward(name: str) -> Callable[..., None]:
        def call(*args: Any) -> None:
            for show in shows:
                getattr(show, name)(*args)

        return call

    return Show(*map(forward, Show._fields))


def show_lines(
    lines: Sequence[str], *, console: rich.console.Console | None = None
) -> None:
    """Prints lines as they are; stdout by default."""
    console = console or rich.console.Console()
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def summary(rows: Sequence[Row], report: pathlib.Path) -> str:
    """Text for the end of a run: labels used, accuracy by round, path of the report.

    Args:
      rows: rows of metrics.jsonl; all but those of finished rounds are ignored.
      report: path of report.md.
    """
    rounds = [row for row in rows if row["event"] == "round"]
    if not rounds:
        return f"No round is finished yet. Report: {report}"
    table = [
        f"{row['round']:>5}  {row['labels_target']:>6}  "
        f"{_percent(row['test_accuracy']):>8}  {_percent(row['val_accuracy']):>10}  "
        f"{row['seconds']:>7.1f}"
        for row in rounds
    ]
    return "\n".join(
        [
            f"Labels used: {_labels(rounds[-1])}{_tested(rounds[-1])}.",
            f"{'round':>5}  {'labels':>6}  {'test':>8}  {'validation':>10}  seconds",
            *table,
            f"Report: {report}",
        ]
    )


def _round_line(row: Row) -> str:
    if row["test_accuracy"] is None and row["val_accuracy"] is None:
        return f"trained with {_labels(row)}; {row['seconds']:.1f} s"
    return (
        f"test {_percent(row['test_accuracy'])}, "
        f"validation {_percent(row['val_accuracy'])} with {_labels(row)}; "
        f"{row['seconds']:.1f} s"
    )


def _selection_line(row: Row) -> str:
    """The result of one line of Algorithm 2; "" if there is nothing to show."""
    if row["event"] == "correct":
        return asking.corrections(row)
    if "ranking_loss" in row:
        return (
            f"Algorithm 2, iteration {row['iteration']}: loss predictor trained on "
            f"{row['union']} samples; target loss {row['target_loss']:.3g}, ranking "
            f"loss {row['ranking_loss']:.3g}"
        )
    if "branch" not in row:
        return ""
    outcomes = {
        "source": "the source helps more, so its samples join the predictor's "
        "training set",
        "target": "the source does not help more, so target labels are bought",
        "spent": "the source does not help more, but the label budget is spent",
    }
    return (
        f"Algorithm 2, iteration {row['iteration']}: validation accuracy "
        f"{_percent(row['accuracy_source'])} with {row['source_samples']} source "
        f"samples, {_percent(row['accuracy_target'])} with {row['labels_target']} "
        f"target labels; {outcomes[row['branch']]}"
    )


def _labels(row: Row) -> str:
    return (
        f"{row['labels_target']} target labels bought, {row['labels_val']} for "
        f"validation, {row['source_samples']} source samples"
    )


def _tested(row: Row) -> str:
    count = row.get("test_images")
    return "" if count is None else f"; {count} labeled images test"


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{100 * accuracy:.1f} %"
