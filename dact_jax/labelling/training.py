"""The next round, as a process in the background."""

import collections
import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

OFF, SOON, HELD, RUNNING, FAILED, ENDED, IDLE = (
    "off",  # the page starts no rounds
    "soon",  # all is answered: it starts by itself unless somebody goes back
    "held",  # somebody went back: it starts when told
    "running",
    "failed",
    "ended",  # the run has nothing more to ask
    "idle",  # there are questions
)
GRACE = 5.0  # seconds from the last answer to the start, for who wants to go back
_PATIENCE = 25.0  # seconds that a stopped run has to save
_LINES, _LENGTH = 12, 400  # lines of output that are shown, and their characters
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_OURS = "dact_jax: "  # how a command of this package begins its last sentence


class Trainer:
    """Starts the command of the next round once all questions are answered."""

    def __init__(
        self,
        command: Sequence[str],
        is_answered: Callable[[], bool],
        version: Callable[[], str],
        *,
        grace: float = GRACE,
        ahead: bool = False,
    ) -> None:
        """Keeps what to start.

        Args:
          command: that trains the next round and ends; empty: nothing is started.
          is_answered: whether there is no open question.
          version: what changes when the run asks something else.
          grace: seconds between the last answer and the start.
          ahead: whether the command waits for a line on its standard input. It is
            then started while the questions are answered, and begins sooner.
        """
        self._command = list(command)
        self._is_answered = is_answered
        self._version = version
        self._asked = ""  # the version when the round began
        self._grace = grace
        self._state = IDLE if command else OFF
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ahead = ahead
        self._waiting: subprocess.Popen[bytes] | None = None
        self._lines: collections.deque[str] = collections.deque(maxlen=_LINES)
        self._sentence = ""
        self._started = 0.0

    def snapshot(self) -> dict[str, Any]:
        """What a window shows, as plain values for JSON."""
        with self._lock:
            running = self._state == RUNNING
            return {
                "state": self._state,
                "lines": list(self._lines),
                "sentence": self._sentence,
                "seconds": int(time.monotonic() - self._started) if running else 0,
            }

    def arm(self) -> None:
        """Starts the next round after a while, if all questions are answered."""
        with self._lock:
            if self._state in (OFF, RUNNING, ENDED) or not self._is_answered():
                return
            self._disarm()
            self._state = SOON
            self._timer = threading.Timer(self._grace, self._start_if, [SOON])
            self._timer.daemon = True
            self._timer.start()

    def hold(self) -> None:
        """Starts nothing until told: somebody looks at an answer again."""
        with self._lock:
            if self._state == SOON:
                self._disarm()
                self._state = HELD

    def start(self) -> None:
        """Starts the next round now, unless it runs or questions are open."""
        with self._lock:
            if self._state in (SOON, HELD, FAILED) and self._is_answered():
                self._start_if(self._state)

    def stop(self) -> bool:
        """Asks a round that runs to save and end; returns whether one ran."""
        with self._lock:
            self._disarm()
            process, self._command, self._state = self._process, [], OFF
            self._dismiss()
        if process is None or process.poll() is not None:
            return False
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
        return True

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_if(self, expected: str) -> None:
        with self._lock:
            if self._state != expected:
                return
            self._disarm()
            self._lines.clear()
            self._sentence = ""
            self._started = time.monotonic()
            self._asked = self._version()
            try:
                self._process = self._begun()
            except OSError as error:
                self._state, self._sentence = FAILED, f"{error.strerror}."
                return
            self._state = RUNNING
            follow = threading.Thread(
                target=self._follow, args=[self._process], daemon=True
            )
            follow.start()

    def prepare(self) -> None:
        """Starts a command that waits for its line, so that it can begin at once."""
        with self._lock, contextlib.suppress(OSError):  # told when the round starts
            if self._ahead and self._state in (IDLE, SOON) and self._waiting is None:
                self._waiting = _started(self._command, subprocess.PIPE)

    def _begun(self) -> subprocess.Popen[bytes]:
        """A process of the command that does its work."""
        if not self._ahead:
            return _started(self._command, subprocess.DEVNULL)
        if self._waiting is None or self._waiting.poll() is not None:
            self._dismiss()
            self._waiting = _started(self._command, subprocess.PIPE)
        process, self._waiting = self._waiting, None
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as line:
            line.write(b"\n")  # what ended it is in its output
        return process

    def _dismiss(self) -> None:
        """Ends the process that waits."""
        if self._waiting is not None:
            self._waiting.kill()
            self._waiting.communicate()
            self._waiting = None

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in lines(output):
                with self._lock:
                    self._lines.append(line)
        code = process.wait()
        with self._lock:
            if self._state != RUNNING:
                return
            if code:
                self._state, self._sentence = FAILED, _reason(self._lines, code)
            elif self._version() == self._asked and self._is_answered():
                self._state = ENDED
            else:
                self._state = IDLE
                self.prepare()
                self.arm()  # somebody may have answered before the process ended


def _started(command: Sequence[str], stdin: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"},
        start_new_session=True,  # Ctrl-C reaches it once: from `stop`
    )


def lines(output: IO[bytes]) -> Iterator[str]:
    """The lines of a program's output that are not empty, without control characters.

    What follows a carriage return is a line of its own: so bars are drawn.
    """
    for raw in output:
        for part in re.split(r"[\r\n]", raw.decode("utf-8", "replace")):
            if shown := _CONTROL.sub("", part).strip():
                yield shown[:_LENGTH]


def _reason(shown: Sequence[str], code: int) -> str:
    """The sentence with which the program ended."""
    ours = [line for line in shown if line.startswith(_OURS)]
    if ours:
        return ours[-1].removeprefix(_OURS)
    last = f": {shown[-1]}" if shown else "."
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"it ended with {how}{last}"
