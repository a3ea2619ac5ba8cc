"""Lines on a console without a progress bar, from time to time while work goes on."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import rich.console

EVERY = 30.0  # seconds between two lines


@contextlib.contextmanager
def lines(
    console: rich.console.Console, line: Callable[[], str], *, every: float = EVERY
) -> Iterator[None]:
    """Prints `line()` every 30 seconds while the block runs; nothing beside a bar.

    A thread prints, so a line also comes while a program is compiled. If a line cannot
    be printed, no other follows: the block's own output meets the same error.

    Args:
      line: what to print.
      every: seconds between two lines.
    """
    if has_bar(console):
        yield
        return
    stop = threading.Event()

    def repeat() -> None:
        with contextlib.suppress(OSError):
            while not stop.wait(every):
                say(console, line())

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def during(
    activity: str, *, console: rich.console.Console | None = None, every: float = EVERY
) -> Iterator[None]:
    """Shows what is done in the block: a status line on a terminal, else lines.

    Args:
      activity: such as "reading the data".
    """
    console = console or rich.console.Console()
    began = time.monotonic()

    def line() -> str:
        return f"{activity}, {duration(time.monotonic() - began)} so far"

    if has_bar(console):
        with console.status(f"{activity} ..."):
            yield
    else:
        with lines(console, line, every=every):
            yield


def has_bar(console: rich.console.Console) -> bool:
    """Whether a progress bar is shown: on a terminal that can move its cursor."""
    return console.is_terminal and not console.is_dumb_terminal


def say(console: rich.console.Console, text: str) -> None:
    """Prints one line as it is, without markup or wrapping."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """A time as 0:00:00."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
