"""Fails every operation of a run in turn, in one process that compiles once."""

import collections
import contextlib
import copy
import logging
import pathlib
import re
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dact_jax.configuration import build
from dact_jax.reports.pictures import png
from dact_jax.rounds import checkpoint, claim
from dact_jax.training import loop
from tests.crash import campaign, faults

_SAID = 100  # failures between two lines of progress


class Outcome(NamedTuple):
    operations: int  # of the undisturbed run, that can fail so
    failures: int  # operations that were failed
    faults: list[str]  # what went wrong, one line or traceback each
    forms: frozenset[str] = frozenset()  # of the operations of the undisturbed run


def fail_each(
    place: pathlib.Path,
    preset: str,
    kind: str,
    *,
    distinct: bool = False,
    known: frozenset[str] = frozenset(),
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Starts a run again and again, each time failing one operation more.

    A process that ends by a fault is followed by one that goes on from the last
    checkpoint. There an operation fails that has not failed there yet, until a
    checkpoint, a question or an answer more is complete; so every operation of the run
    fails once. In the end the run must equal an undisturbed one.

    Args:
      place: an empty folder.
      kind: "kill", "ENOSPC" or "EIO".
      distinct: fail only one of the operations that differ in numbers alone.
      known: forms of operations that are not failed, if `distinct`.
      say: is told of each fault when it is found, and of every hundredth failure.
    """
    found: list[str] = []
    expected, folder, kept = (place / name for name in ("expected", "run", "kept"))
    arguments = campaign.command(place, folder, preset)
    with shared():
        with faults.layer(str(expected)) as record:
            whole = campaign.run(campaign.command(place, expected, preset))
        if whole.code:
            return Outcome(len(record.done), 0, [f"undisturbed: {whole.err}"])
        able = [name for name in record.done if faults.can_fail(name, kind)]
        forms = frozenset(map(faults.form, able))
        failed: list[str] = []
        here = collections.Counter[str]()  # failed since the last progress, by name
        while True:
            seen = known.union(map(faults.form, failed))
            fault = faults.Fault(
                kind, seen=seen if distinct else known, passed=here.copy()
            )
            before = campaign.progress(folder)
            if kind != "kill" or not distinct:
                _copy(folder, kept)
            with faults.layer(str(folder), fault) as disturbed:
                attempt = _attempt(arguments, disturbed)
            found += _told(attempt.faults, say)
            if disturbed.failed is None:
                break
            failed.append(disturbed.failed)
            if not len(failed) % _SAID:
                say(f"{kind}: {len(failed)} failures of about {len(able)}")
            if attempt.finished:  # it could do without the operation
                found += _told(campaign.differences(folder, expected), say)
                _copy(kept, folder)
            elif not distinct and _is_late(disturbed.failed, folder):
                # Its checkpoint is complete, and others of its operations are to come.
                found += _told(_finish(arguments, folder, expected), say)
                _copy(kept, folder)
            if distinct or campaign.progress(folder) != before:
                here.clear()
            else:
                here[faults.nameless(disturbed.failed)] += 1
        missed = [f"never failed: {name}" for name in sorted(forms - seen)]
        missed += [] if distinct else _missed(able, failed)
        found += _told(missed + campaign.differences(folder, expected), say)
    for path in (folder, expected, kept):
        shutil.rmtree(path, ignore_errors=True)
    return Outcome(len(able), len(failed), found, forms)


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """Runs in this block compile once, and libraries say nothing of what kills them."""
    with campaign.listed_once(), compiled_once(), _drawn_once(), _quiet():
        yield


def _is_late(operation: str, folder: pathlib.Path) -> bool:
    """Whether a save did the operation after its checkpoint was complete."""
    name = operation.split(" ", 1)[1]
    match = re.fullmatch(r"((?:pretrained/)?checkpoints)(?:/(\d+)\b.*)?", name)
    if match is None:
        return False
    complete = checkpoint.manifest.numbers(folder / match[1])
    return bool(complete) and int(match[2] or 0) <= complete[0]


def _finish(
    arguments: list[str], folder: pathlib.Path, expected: pathlib.Path
) -> list[str]:
    """What is wrong with the end of a run that nothing disturbs any more."""
    ended = campaign.run(arguments)
    if ended.code or ended.err:
        return [f"exit code {ended.code}: {ended.err}"]
    return campaign.differences(folder, expected)


def _told(found: list[str], say: Callable[[str], None]) -> list[str]:
    for fault in found:
        say(f"FAULT: {fault}")
    return found


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


def _missed(done: list[str], failed: list[str]) -> list[str]:
    """Whether fewer operations were failed than an undisturbed run has."""
    # What only removes is done again by the next save, so it may not come up each time.
    writes, wrong = (
        sum(faults.can_fail(name, "ENOSPC") for name in names)
        for names in (done, failed)
    )
    if wrong >= writes:
        return []
    return [f"only {wrong} of {writes} operations that write were failed"]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Threads and tasks of libraries complain of what stands for a kill."""
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = threading.excepthook = lambda args: None
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = hooks
        logging.disable(logging.NOTSET)


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
    """Runs of one config share data, network and compiled programs.

    Everything that a run does afterwards is as in a process of its own: it reads its
    folder, restores, trains, saves and writes.
    """
    build_run, compile_step = build.build, loop._compile
    plain = claim._plain
    built: dict = {}
    programs: dict = {}
    plains: dict = {}

    def build_once(config, **options):
        key = repr(config)
        if key not in built:
            built[key] = build_run(config, **options)
        return built[key]

    def compile_once(run, resident, num_steps):
        parts = run.model, run.method, run.optimizer, run.augment, run.task
        key = (*map(id, parts), run.schedule, num_steps)
        if key not in programs:
            program = compile_step(run, resident, num_steps)
            programs[key] = parts, program  # the parts stay alive, so ids are theirs
        return programs[key][1]

    def plain_once(tree):
        key = repr(tree)
        if key not in plains:
            plains[key] = plain(tree)
        return copy.deepcopy(plains[key])

    build.build, loop._compile = build_once, compile_once
    claim._plain = plain_once
    try:
        yield
    finally:
        build.build, loop._compile = build_run, compile_step
        claim._plain = plain


@contextlib.contextmanager
def _drawn_once() -> Iterator[None]:
    """Each curve is the picture of the first, but written like any other."""
    encode = png.encode
    pictures: dict[int, bytes] = {}

    def encode_once(drawing, *, dpi):
        if dpi not in pictures:
            pictures[dpi] = encode(drawing, dpi=dpi)
        return pictures[dpi]

    png.encode = encode_once
    try:
        yield
    finally:
        png.encode = encode
