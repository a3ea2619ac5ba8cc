"""A command that Ctrl-C, SIGTERM or SIGHUP asks to end: it loses little and says so."""

import contextlib
import functools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NamedTuple

from dact_jax import errors
from dact_jax.run_types import Stop

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows lacks the last
_ASKING = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_GRACE = 20.0  # seconds until a run that can save must have saved
_LOOK = 0.05  # seconds between two looks at whether it still can
_SOON = "stopping after what is computed now; a second signal stops at once"
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it


class _Asked(NamedTuple):
    numbers: list[int]  # of the signals that came
    can_save: threading.Event  # set while the work answers a request by saving


@contextlib.contextmanager
def handled(last_words: Callable[[], str]) -> Iterator[Stop]:
    """While it is open, a signal ends the process with a sentence and code 128 + n.

    Work that is inside `Stop.saving` has 20 seconds to save and to raise StoppedError;
    other work ends at once, as by SIGKILL: every file is written so that this is safe.
    A second signal ends both at once. A thread waits for the signals, since the main
    thread does not see them while XLA compiles or computes.

    Args:
      last_words: what to say if the work did not say it by a StoppedError.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Stop()  # only the main thread may handle signals
        return
    asked = _Asked([], threading.Event())
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    # An ignored signal stays ignored: nohup, and jobs in the background of a script.
    taken = [n for n in _ASKING if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _wake) for number in taken}
    if hasattr(signal, "siginterrupt"):  # Windows has none
        for number in taken:
            signal.siginterrupt(number, False)  # no library's write is cut short
    wakeup = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    watch = functools.partial(_watch, receiver, asked, last_words)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield Stop(lambda: bool(asked.numbers), lambda: _saving(asked))
    except errors.StoppedError as stopped:
        _say(str(stopped))
        # Another process of a `jax.distributed` job may be the one that was asked.
        sys.exit(128 + (asked.numbers[0] if asked.numbers else signal.SIGTERM))
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        sender.close()  # ends the thread


def _wake(number: int, frame: FrameType | None) -> None:
    """Does nothing: the number is written to the thread that waits."""
    del number, frame


def _watch(
    receiver: socket.socket, asked: _Asked, last_words: Callable[[], str]
) -> None:
    with receiver:
        first = _next(receiver)
        if first is None:
            return
        asked.numbers.append(first)
        if asked.can_save.is_set():
            _say(_SOON)
        end, second = time.monotonic() + _GRACE, None
        receiver.settimeout(_LOOK)
        while asked.can_save.is_set() and second is None and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                second = _next(receiver)
                if second is None:
                    return  # the work is over
        try:
            _say(last_words())
        finally:  # whatever fails there, the process ends
            os._exit(128 + first)


def _next(receiver: socket.socket) -> int | None:
    """The number of the next signal; None after the end of the work."""
    while byte := receiver.recv(1):
        if byte[0] in _ASKING:
            return byte[0]
    return None


@contextlib.contextmanager
def _saving(asked: _Asked) -> Iterator[None]:
    asked.can_save.set()
    try:
        yield
    except errors.StoppedError:
        raise  # saved: the process ends by itself
    except BaseException:
        asked.can_save.clear()
        raise
    asked.can_save.clear()


def _say(sentence: str) -> None:
    """Writes to stderr past Python's buffers, whose lock another thread may hold."""
    cursor = _SHOW_CURSOR if sys.stdout is not None and sys.stdout.isatty() else ""
    with contextlib.suppress(OSError):  # a terminal that is gone
        os.write(2, f"{cursor}\ndact_jax: {sentence}\n".encode())
