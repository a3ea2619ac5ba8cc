"""Lines on a console that is no terminal, from time to time while something runs."""

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
    """Prints `line()` every 30 seconds while the block runs; nothing on a terminal.

    A thread prints, so a line also comes while a program is compiled.

    Args:
      line: what to print.
      every: seconds between two lines.
    """
    if console.is_terminal:
        yield
        return
    stop = threading.Event()

    def repeat() -> None:
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

    if console.is_terminal and not console.is_dumb_terminal:
        with console.status(f"{activity} ..."):
            yield
    else:
        with lines(console, line, every=every):
            yield


def say(console: rich.console.Console, text: str) -> None:
    """Prints one line as it is, without markup or wrapping."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """A time as 0:00:00."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
