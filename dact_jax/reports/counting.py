"""How far a long piece of work on many items is, with the time left."""

import contextlib
import time
from collections.abc import Callable, Iterator

import rich.console
import rich.progress
import rich.table

from dact_jax.reports import waiting

_TICK = 1.0  # seconds between two looks at the speed


@contextlib.contextmanager
def progress(
    activity: str,
    *,
    console: rich.console.Console | None = None,
    every: float = waiting.EVERY,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[int, int], None]]:
    """Shows a bar on a terminal, and a line every 30 seconds elsewhere.

    The time left follows from the speed after the first second: what was done before
    the work began is reported at once, and says nothing about it.

    Args:
      activity: such as "embedding images".
      console: stdout by default.
      every: seconds between two lines.
      clock: in seconds.

    Yields:
      report: to be called with (items done, all items), as often as one likes.
    """
    console = console or rich.console.Console()
    bar = _bar(console)
    task = bar.add_task(activity, total=None)
    began = last = clock()
    first: tuple[float, int] | None = None  # when the speed is measured from
    state = (0, 0)

    def report(done: int, total: int) -> None:
        nonlocal first, last, state
        state, now = (done, total), clock()
        if now - last < _TICK and done < total:
            return
        first, last = first or (now, done), now
        bar.update(task, completed=done, total=total, description=line())

    def line() -> str:
        (done, total), now = state, clock()
        text = f"{activity}: {done} of {total}" if total else activity
        text += f", {waiting.duration(now - began)} so far"
        if first is None or now <= first[0] or done <= first[1]:
            return text
        left = (total - done) * (now - first[0]) / (done - first[1])
        return f"{text}, {waiting.duration(left)} left"

    with bar, waiting.lines(console, line, every=every):
        yield report


def _bar(console: rich.console.Console) -> rich.progress.Progress:
    """One line with a bar, the share done and a text; erased at the end."""
    column = rich.table.Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return rich.progress.Progress(
        rich.progress.BarColumn(bar_width=20),
        rich.progress.TaskProgressColumn(),
        rich.progress.TextColumn(
            "{task.description}", markup=False, table_column=column
        ),
        expand=True,
        console=console,
        transient=True,
        disable=not waiting.has_bar(console),
    )
