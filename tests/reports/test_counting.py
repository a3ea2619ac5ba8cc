"""The progress of work on many items, with a clock that tests control."""

import io
import time

from rich import console as consoles

from dact_jax.reports import counting


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


def console(*, terminal):
    return consoles.Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=100,
        _environ={"TERM": "xterm"},
    )


def lines(reports):
    """The last line printed after each report (seconds, done)."""
    out, clock = console(terminal=False), Clock()
    found = []
    with counting.progress(
        "embedding images", console=out, every=0.02, clock=clock
    ) as report:
        for seconds, done in reports:
            clock.seconds = seconds
            report(done, 1000)
            time.sleep(0.2)
            found.append(out.file.getvalue().splitlines()[-1])
    return found


def test_lines_tell_how_far_it_is_and_how_long_it_takes():
    # 400 were known before; then ten a second.
    assert lines([(0.1, 400), (5, 450), (15, 550), (40, 800)]) == [
        "embedding images: 400 of 1000, 0:00:00 so far",
        "embedding images: 450 of 1000, 0:00:05 so far",
        "embedding images: 550 of 1000, 0:00:15 so far, 0:00:45 left",
        "embedding images: 800 of 1000, 0:00:40 so far, 0:00:20 left",
    ]


def test_a_terminal_shows_a_bar():
    out, clock = console(terminal=True), Clock()
    with counting.progress("embedding images", console=out, clock=clock) as report:
        for seconds in (2, 4, 6):
            clock.seconds = seconds
            report(100 * seconds, 1000)
    shown = out.file.getvalue()
    assert "600 of 1000, 0:00:06 so far, 0:00:04 left" in shown
    assert "60%" in shown


def test_quick_work_prints_nothing_beside_a_terminal():
    out = console(terminal=False)
    with counting.progress("embedding images", console=out) as report:
        report(3, 3)
    assert not out.file.getvalue()
