"""Kills processes at random moments; what goes on afterwards must end the same.

One server process imports everything and starts no device; each attempt is a fork of
it, so it costs no import. All programs are in a compilation cache before the first
kill.
"""

import contextlib
import os
import pathlib
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

from dact_jax.configuration import defaults
from tests.crash import campaign, faults

_TIMEOUT = 120.0  # seconds that no attempt takes
_BLOWS = 12  # at most, to one run
_SMALLEST, _LARGEST = 1, 20_000  # bytes that a file may have, where a disk is full


class Tally(NamedTuple):
    """What was done, and what was wrong."""

    runs: int
    kills: int  # by SIGKILL
    stops: int  # by SIGTERM
    full: int  # processes that met a full disk
    faults: list[str]


class _Attempt(NamedTuple):
    code: int  # exit code, or minus the number of the signal
    err: str


def kill_often(
    place: pathlib.Path,
    presets: tuple[str, ...],
    kills: int,
    seed: int,
    say: Callable[[str], None],
) -> Tally:
    """Kills runs until `kills` processes were killed, and compares each run's end.

    Half of the kills come at a random time, half at a random operation on the folder,
    which is then half done. About one attempt in twenty is stopped by SIGTERM instead,
    and one in twenty has a disk on which files may grow to a random size only.

    Args:
      place: an empty folder.
    """
    with campaign.listed_once():
        defaults.declared()  # listed before the forks
        return _kill_often(place, presets, kills, random.Random(seed), say)


def _kill_often(
    place: pathlib.Path,
    presets: tuple[str, ...],
    kills: int,
    draw: random.Random,
    say: Callable[[str], None],
) -> Tally:
    tally = Tally(0, 0, 0, 0, [])
    whole: dict[str, tuple[float, int]] = {}
    for preset in presets:
        for _ in range(2):  # the first fills the compilation cache
            whole[preset] = _undisturbed(place, preset)
    while tally.kills < kills:
        preset = presets[tally.runs % len(presets)]
        folder = place / f"run_{tally.runs}"
        before = tally
        tally = _one_run(place, folder, preset, whole[preset], kills, draw, tally)
        wrong = len(tally.faults) - len(before.faults)
        say(
            f"run {tally.runs} ({preset}): {tally.kills - before.kills} kills"
            f"{f', {wrong} FAULTS' if wrong else ''}; {tally.kills} of {kills}"
        )
        if not wrong:
            shutil.rmtree(folder)
    return tally


def _undisturbed(place: pathlib.Path, preset: str) -> tuple[float, int]:
    """The seconds and the number of operations of a whole run, in `place`."""
    folder = place / f"expected_{preset}"
    shutil.rmtree(folder, ignore_errors=True)
    arguments = campaign.command(place, folder, preset)
    counted = place / "operations"

    def count() -> int:
        with faults.layer(str(folder)) as record:
            ended = campaign.run(arguments)
        counted.write_text(str(len(record.done)))
        sys.stderr.write(ended.err)
        return ended.code

    started = time.monotonic()
    attempt = _forked(count)
    if attempt.code:
        raise RuntimeError(f"the undisturbed run fails: {attempt}")
    return time.monotonic() - started, int(counted.read_text())


def _one_run(
    place: pathlib.Path,
    folder: pathlib.Path,
    preset: str,
    whole: tuple[float, int],
    kills: int,
    draw: random.Random,
    tally: Tally,
) -> Tally:
    """Disturbs a run some times, lets it end, and compares it."""
    arguments = campaign.command(place, folder, preset)
    seconds, operations = whole
    found: list[str] = []
    for _ in range(_BLOWS):
        if tally.kills >= kills:
            break
        blow = draw.choices(
            ("time", "operation", "stop", "full"), weights=(8, 8, 1, 1)
        )[0]
        if blow == "operation":
            at = draw.randint(1, max(1, operations // 8))
            attempt = _forked(_work(arguments, folder, faults.Fault("sigkill", at)))
        elif blow == "full":
            limit = draw.randint(_SMALLEST, _LARGEST)
            attempt = _forked(_work(arguments, folder, limit=limit))
        else:
            number = signal.SIGKILL if blow == "time" else signal.SIGTERM
            after = draw.uniform(0, 0.8 * seconds)
            attempt = _forked(_work(arguments, folder), number, after)
        found += _wrong(attempt, blow)
        tally = tally._replace(
            kills=tally.kills + (attempt.code == -signal.SIGKILL),
            stops=tally.stops + (attempt.code == 128 + signal.SIGTERM),
            full=tally.full + (attempt.code == 2),
        )
        if attempt.code == 0:
            break
    last = _forked(_work(arguments, folder))
    found += _wrong(last, "none")
    if not found:
        found += _compared(folder, place / f"expected_{preset}")
    return tally._replace(runs=tally.runs + 1, faults=tally.faults + found)


def _wrong(attempt: _Attempt, blow: str) -> list[str]:
    """What an attempt did that it must not do, whatever happened to it."""
    allowed = {
        "time": (0, -signal.SIGKILL),
        "operation": (0, -signal.SIGKILL),
        "stop": (0, 128 + signal.SIGTERM, -signal.SIGTERM),
        "full": (0, 2),
        "none": (0,),
    }
    told = [line for line in attempt.err.splitlines() if line.strip()]
    sentences = all(line.startswith("dact_jax: ") for line in told)
    if attempt.code in allowed[blow] and sentences and len(told) <= 2:
        return []
    return [f"{blow}: exit code {attempt.code}: {attempt.err}"]


def _compared(folder: pathlib.Path, expected: pathlib.Path) -> list[str]:
    """The differences of two finished runs, found in a process of their own."""

    def compare() -> int:
        for line in campaign.differences(folder, expected):
            print(line, file=sys.stderr)
        return 0

    attempt = _forked(compare)
    return attempt.err.splitlines() or ([] if attempt.code == 0 else [str(attempt)])


def _work(
    arguments: list[str],
    folder: pathlib.Path,
    fault: faults.Fault | None = None,
    *,
    limit: int | None = None,
) -> Callable[[], int]:
    """Runs the command, with a fault or with a bound on the size of its files."""

    def work() -> int:
        if limit is not None:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with contextlib.ExitStack() as stack:
            if fault is not None:
                stack.enter_context(faults.layer(str(folder), fault))
            ended = campaign.run(arguments)
        sys.stderr.write(ended.err)
        return ended.code

    return work


def _forked(
    work: Callable[[], int], number: int | None = None, after: float = 0.0
) -> _Attempt:
    """Does the work in a fork; sends it a signal after some seconds."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os.dup2(writing, 2)
        code = 70
        try:
            code = work()
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    os.close(writing)
    if number is not None:
        time.sleep(after)
        os.kill(child, number)  # a zombie at worst
    with open(reading, "rb") as pipe:
        err = pipe.read().decode("utf-8", "replace")
    status = os.waitpid(child, 0)[1]
    return _Attempt(os.waitstatus_to_exitcode(status), err)
