"""Fails every operation of a run in turn, in one process that compiles once."""

import contextlib
import functools
import pathlib
import shutil
import traceback
from collections.abc import Iterator
from typing import NamedTuple

from dact_jax.configuration import build, defaults
from dact_jax.training import loop
from tests.crash import campaign, faults


class Outcome(NamedTuple):
    operations: int  # of the undisturbed run
    failures: int  # operations that were failed
    faults: list[str]  # what went wrong, one line or traceback each


def fail_each(place: pathlib.Path, preset: str, kind: str) -> Outcome:
    """Starts a run again and again, each time failing one operation further on.

    A process that ends by a fault is followed by one that goes on from the last
    checkpoint. There its first operation fails, then its second, and so on until a
    checkpoint more is complete; so every operation of the run fails once. In the end
    the run must equal an undisturbed one.

    Args:
      place: an empty folder.
      kind: "kill", "ENOSPC" or "EIO".
    """
    found: list[str] = []
    with compiled_once():
        expected, folder = place / "expected", place / f"{preset}_{kind}"
        with faults.layer(str(expected)) as record:
            whole = campaign.run(campaign.command(place, expected, preset))
        if whole.code:
            return Outcome(len(record.done), 0, [f"undisturbed: {whole.err}"])
        arguments, kept = campaign.command(place, folder, preset), place / "kept"
        failures, at = 0, 1
        while True:
            before = campaign.checkpoints(folder)
            _copy(folder, kept)
            with faults.layer(str(folder), faults.Fault(kind, at)) as disturbed:
                attempt = _attempt(arguments, disturbed)
            found += attempt.faults
            if disturbed.failed is None:
                break
            failures += 1
            if attempt.finished:  # the run does without this operation
                found += campaign.differences(folder, expected)
                _copy(kept, folder)
            at = 1 if campaign.checkpoints(folder) != before else at + 1
        found += _missed(record, failures)
        found += campaign.differences(folder, expected)
    for path in (folder, expected, kept):
        shutil.rmtree(path)
    return Outcome(len(record.done), failures, found)


class _Attempt(NamedTuple):
    finished: bool
    faults: list[str]


def _attempt(arguments: list[str], record: faults.Record) -> _Attempt:
    """Runs the command under a layer."""
    assert record.fault is not None
    try:
        ended = campaign.run(arguments)
    except faults.Killed:
        return _Attempt(False, [])
    except BaseException:
        where = f"{record.failed}, {record.fault.kind}: {traceback.format_exc()}"
        return _Attempt(False, [where])
    where = f"{record.failed}, {record.fault.kind}: exit code {ended.code}: {ended.err}"
    told = ended.err.strip().splitlines()
    if ended.code == 0:
        return _Attempt(True, [where] if told else [])
    right = ended.code == 2 and len(told) == 1 and told[0].startswith("dact_jax: ")
    words = ("No space left on device", "Input/output error")
    right &= record.failed is not None and any(word in told[0] for word in words)
    return _Attempt(False, [] if right else [where])


def _copy(folder: pathlib.Path, other: pathlib.Path) -> None:
    """Makes the other folder a copy, or removes it if there is nothing to copy."""
    shutil.rmtree(other, ignore_errors=True)
    if folder.exists():
        shutil.copytree(folder, other)


def _missed(record: faults.Record, failures: int) -> list[str]:
    if failures >= len(record.done):
        return []
    return [f"only {failures} of {len(record.done)} operations were failed"]


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
    """Runs of one config share data, network and compiled programs.

    Everything that a run does afterwards is as in a process of its own: it reads its
    folder, restores, trains, saves and writes.
    """
    make, advance = build.build, loop._make_advance
    built: dict = {}
    advances: dict = {}

    def build_once(config):
        key = repr(defaults.identity(config))
        if key not in built:
            built[key] = make(config)
        return built[key]

    @functools.wraps(advance)
    def advance_once(run, *arguments):
        parts = run.model, run.method, run.optimizer, run.augment
        key = (*map(id, parts), run.schedule, *arguments)
        if key not in advances:
            advances[key] = parts, advance(run, *arguments)  # parts stay alive
        return advances[key][1]

    build.build, loop._make_advance = build_once, advance_once
    try:
        yield
    finally:
        build.build, loop._make_advance = make, advance
