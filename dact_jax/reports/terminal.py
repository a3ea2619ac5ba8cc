"""What a run says on the terminal: a bar, one line a round, a summary."""

import contextlib
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import rich.console
import rich.progress
import rich.table

from dact_jax.run_types import Show
from dact_jax.types import Row

# Seconds go up as this power of the centres. Measured for k-center on pools of 200 000
# rows and budgets of 20 000: 1.1 to 1.5 by how the rows lie.
_DEARER = 1.3


@contextlib.contextmanager
def make(
    lengths: Sequence[int],
    *,
    start: tuple[int, int] = (0, 0),
    label: str = "",
    console: rich.console.Console | None = None,
) -> Iterator[Show]:
    """Shows a run: a bar with the time left on a terminal, one line a round anywhere.

    The time left is that of the whole run. It comes from the steps that this process
    did after its first report, so neither steps done before a resume nor the first
    compilation count; measuring and selecting between two rounds do.

    Args:
      lengths: iterations of each round of the whole run.
      start: (round, iterations done in it) that a resumed run goes on from.
      label: what a round is called; empty: its number.
      console: where to write; stdout by default.
    """
    console = console or rich.console.Console()
    bar = _bar(console)

    def place(number: int, step: int) -> int:
        return sum(lengths[:number]) + step

    task = bar.add_task("", total=sum(lengths), completed=place(*start))

    def show_step(number: int, step: int, losses: Mapping[str, float]) -> None:
        named = "  ".join(f"{name} {value:.3g}" for name, value in losses.items())
        where = f"{label or f'round {number}'}, step {step}/{lengths[number]}"
        bar.update(
            task, completed=place(number, step), description=f"left; {where}  {named}"
        )

    def show_round(row: Row) -> None:
        bar.update(task, completed=place(row["round"] + 1, 0))
        line = f"{label or 'round {}'.format(row['round'])}: {_line(row)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show_select(row: Row) -> None:
        if line := _decision(row):
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    with bar:
        yield Show(show_step, show_round, show_select)


@contextlib.contextmanager
def picks(
    total: int, *, chosen: int = 0, console: rich.console.Console | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Shows a selection: a bar with the time left on a terminal, nothing elsewhere.

    Each pick is one more centre that the pool is compared with, so the next picks are
    dearer. The bar goes by work, centres to the power of 1.3, and not by picks: those
    that are left then count for what they will take. Before the first report, while the
    pool is compared with what is chosen already, it says no time.

    Args:
      total: picks to make.
      chosen: rows that were chosen before, which are centres too.
      console: where to write; stdout by default.

    Yields:
      What `k_center` calls: (picks so far, total).
    """
    bar = _bar(console or rich.console.Console())

    def work(done: int) -> float:
        return (chosen + done) ** _DEARER - chosen**_DEARER

    task = bar.add_task("left; reading the pool", total=work(total), start=False)

    def told(done: int, total: int) -> None:
        bar.start_task(task)
        description = f"left; {done} of {total} picks"
        bar.update(task, completed=work(done), description=description)

    with bar:
        yield told


def _bar(console: rich.console.Console) -> rich.progress.Progress:
    """A bar, share done and time left, on one line that goes away in the end."""
    return rich.progress.Progress(
        rich.progress.BarColumn(bar_width=20),
        rich.progress.TaskProgressColumn(table_column=_whole()),
        rich.progress.TimeRemainingColumn(table_column=_whole()),
        rich.progress.TextColumn(
            "{task.description}",
            markup=False,
            table_column=rich.table.Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        expand=True,
        console=console,
        transient=True,
        disable=not console.is_terminal or console.is_dumb_terminal,
        speed_estimate_period=math.inf,  # a window of seconds would miss selection
    )


def _whole() -> rich.table.Column:
    """A column that is not cut where the terminal is narrow."""
    return rich.table.Column(no_wrap=True, min_width=len("0:00:00"))


def join(*shows: Show) -> Show:
    """One that tells all of them."""

    def step(number: int, at: int, losses: Mapping[str, float]) -> None:
        for show in shows:
            show.step(number, at, losses)

    def round_(row: Row) -> None:
        for show in shows:
            show.round(row)

    def select(row: Row) -> None:
        for show in shows:
            show.select(row)

    return Show(step, round_, select)


def summary(rows: Sequence[Row], report: pathlib.Path) -> str:
    """The last words of a run: labels used, accuracy by round, where the report lies.

    Args:
      rows: of metrics.jsonl; those of finished rounds count.
      report: path of the report.
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
            f"Labels used: {_labels(rounds[-1])}.",
            f"{'round':>5}  {'labels':>6}  {'test':>8}  {'validation':>10}  seconds",
            *table,
            f"Report: {report}",
        ]
    )


def _line(row: Row) -> str:
    return (
        f"test {_percent(row['test_accuracy'])}, "
        f"validation {_percent(row['val_accuracy'])} with {_labels(row)}; "
        f"{row['seconds']:.1f} s"
    )


def _decision(row: Row) -> str:
    """What D_AcT learnt by one of its steps; empty where nothing is to be said."""
    if "ranking_loss" in row:
        return (
            f"choice {row['iteration']}: loss predictor trained on {row['union']} "
            f"samples; target loss {row['target_loss']:.3g}, ranking loss "
            f"{row['ranking_loss']:.3g}"
        )
    if "branch" not in row:
        return ""
    follows = {
        "source": "the source helps more, and joins what the predictor is trained on",
        "target": "the source does not help more, so target labels are bought",
        "spent": "the source does not help more, but all target labels are bought",
    }
    return (
        f"choice {row['iteration']}: {row['source_samples']} source samples give "
        f"{_percent(row['accuracy_source'])} on validation, {row['labels_target']} "
        f"target labels {_percent(row['accuracy_target'])}: {follows[row['branch']]}"
    )


def _labels(row: Row) -> str:
    return (
        f"{row['labels_target']} target labels bought, {row['labels_val']} for "
        f"validation, {row['source_samples']} source samples"
    )


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{100 * accuracy:.1f} %"
