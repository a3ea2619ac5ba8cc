"""One damaged file given to one reader, and what is wrong with how it ends."""

import contextlib
import os
import random
import resource
import shutil
import signal
import tempfile
import traceback
import tracemalloc
import warnings
from typing import NamedTuple

from dact_jax import errors
from tests.fuzz import mutations, seeds

# Bytes that reading a file may take: what an .npz file may always hold (64 MiB), or six
# for each pixel of the largest image (90 million); then a multiple of the file.
MEMORY, RATIO = 2**29, 1000
SECONDS = 10
_ADDRESSES = 2**32  # bytes that a process may take beyond those of its start
_NAMES = (
    *(b"\xff.png", b"a\nb.png", b".hidden.png", b"x" * 200 + b".png", b"=1+1.png"),
    *(b"new", b"new.heic", b"NEW.PNG", b"new.png.", b"cat\\x.png", b"\x1b[31m.png"),
    *(
        b"e\xcc\x81.png",
        b"\xc3\xa9.png",
        b" .png",
        b"'\".png",
        b"a/b/c/d.png",
        b"%s.png",
    ),
)


class Case(NamedTuple):
    number: str  # "seed/count", which makes the same case again
    seed: seeds.Seed
    content: bytes
    reader: str


class Fault(NamedTuple):
    place: str  # file:line of the library, and what happened there
    case: Case
    detail: str


class SlowError(BaseException):
    """A reader took too long; no handler of the code under test sees it."""


def make(number, source=None):
    """The case of a number; another source of random choices may make it."""
    choose = source or random.Random(number)
    every = seeds.seeds()
    reader = choose.choice(seeds.readers())
    seed = choose.choice([seed for seed in every if reader in seed.readers.split()])
    others = [other.content for other in every]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of archives with two members of one name
        content = mutations.mutated(seed.name, seed.content, choose, others)
    if reader == "names":
        folder, content = (
            seed.name.rpartition("/")[0],
            choose.choice((seed.content, content)),
        )
        seed = seed._replace(name=f"{folder}/{os.fsdecode(choose.choice(_NAMES))}")
    return Case(number, seed, content, reader)


def limit_memory():
    """A request for much more memory than the process has now raises MemoryError."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    most = pages * resource.getpagesize() + _ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def check(case, read, folder):
    """Reads the file of a case in an empty folder; returns a Fault, or None.

    Right are a value, and an `InputError` whose message is one line that names the file
    or its folder; within SECONDS and MEMORY + RATIO * size bytes.
    """
    path = seeds.write(case.seed, case.content, folder)
    tracemalloc.start()
    try:
        with _in_time(), warnings.catch_warnings():
            warnings.simplefilter("error")
            read(path)
    except errors.InputError as error:
        place, detail = _wrong_message(str(error), path, case), str(error)
    except (Exception, SlowError) as error:
        place, detail = _place(error), traceback.format_exc(limit=-12)
    else:
        place, detail = "", ""
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    if not place and peak > MEMORY + RATIO * len(case.content):
        place, detail = f"{case.reader}: takes {peak >> 20} MiB", f"{len(case.content)}"
    return Fault(place, case, detail) if place else None


@contextlib.contextmanager
def _in_time():
    def stop(number, frame):
        raise SlowError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of this process, not of the clock
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _wrong_message(message, path, case):
    names = [path.name, path.parent.name, path.parents[1].name, *case.seed.beside]
    shown = [errors.printable(name) for name in names]
    quoted = [repr(name)[1:-1] for name in names]
    if not message.strip():
        return f"{case.reader}: an empty message"
    lines = message.split("\n  ")
    if not message.replace("\n  ", "").isprintable():
        return f"{case.reader}: a message of several lines or with control characters"
    if len(lines) > 30 or max(map(len, lines)) > 2000:
        return f"{case.reader}: a message that fills the screen"
    if not any(name in message for name in (*names, *shown, *quoted)):
        return f"{case.reader}: a message that does not name the file: {message[:60]}"
    return ""


def _place(error):
    """Where in the library the error was raised, or passed last."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/dact_jax/" in frame.filename]
    last = (ours or frames)[-1]
    file = last.filename.rpartition("/dact_jax/")[2]
    return f"{file}:{last.lineno} {type(error).__name__}"


def run(numbers, read, at=None):
    """Yields the fault, or None, of each case.

    Args:
      read: reader by name.
      at: receives each number before its case, as `multiprocessing.Value` does.
    """
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder = tempfile.mkdtemp(prefix="dact_jax_fuzz_", dir=base)
    try:
        for count, number in numbers:
            if at is not None:
                at.value = count
            case = make(number)
            place = tempfile.mkdtemp(prefix="case_", dir=folder)
            yield check(case, read[case.reader], place)
            shutil.rmtree(place, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
