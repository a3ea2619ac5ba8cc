"""An interposed layer: counts what is done to a folder, and fails one operation.

An operation is whatever changes the folder: a file opened for writing, each write, its
flush to the disk, a folder made, a name changed, removed or cut off, and an array that
tensorstore opens (it writes in C++, where Python sees nothing).
"""

import builtins
import collections
import contextlib
import errno
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import tensorstore

KINDS = ("kill", "sigkill", "ENOSPC", "EIO")
_EVENTS = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.truncate",
    "os.link",
    "os.symlink",
)
_WRITING = os.O_WRONLY | os.O_RDWR


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the code under test sees it."""


class Fault(NamedTuple):
    kind: str  # one of KINDS
    # The operation that fails, from 1; 0: the first that `seen` and `passed` allow.
    at: int = 0
    seen: frozenset[str] = frozenset()  # forms of operations that go well
    # How often an operation goes well, by `nameless`, before it fails.
    passed: Mapping[str, int] = collections.Counter()


def can_fail(operation: str, kind: str) -> bool:
    """A full disk refuses nothing that only removes."""
    return kind != "ENOSPC" or not operation.startswith(("os.remove", "os.rmdir"))


def nameless(operation: str) -> str:
    """An operation without the names that tensorstore draws at random."""
    return re.sub(r"[0-9a-f]{32}", "#", operation)


def form(operation: str) -> str:
    """An operation without numbers: checkpoints are written alike, in both stages."""
    return re.sub(r"\d+", "#", nameless(operation.replace("pretrained/", "")))


class Record:
    """What was done while a layer was in place."""

    def __init__(self, folder: str, fault: Fault | None) -> None:
        self.folder = os.path.join(os.path.realpath(folder), "")
        self.fault = fault
        self.done: list[str] = []
        self.failed: str | None = None  # the operation that the fault met
        self._lock = threading.Lock()
        self._arrays: set[str] = set()  # databases that hold arrays
        self._often: collections.Counter[str] = collections.Counter()

    def array(self, database: object) -> None:
        """The first array of a checkpoint counts; the others go the same way."""
        path = self.inside(_local(database))
        if path is not None and (path not in self._arrays or self.failed):
            self._arrays.add(path)
            self.operation("tensorstore", path, lambda: None)

    def operation(self, name: str, path: str, tear: Callable[[], object]) -> None:
        """Counts an operation, and fails it if its turn has come.

        Args:
          tear: does half of it, as a process that is killed meanwhile.
        """
        with self._lock:
            if self.failed is None:
                self.done.append(f"{name} {path}")
                if not self._due():
                    return
                self.failed = self.done[-1]
                first = True
            else:
                first = False
        self._fail(name, path, tear, first=first)

    def _due(self) -> bool:
        """Whether the last operation is the one to fail."""
        if self.fault is None or not can_fail(self.done[-1], self.fault.kind):
            return False
        if self.fault.at:
            return len(self.done) >= self.fault.at
        name = nameless(self.done[-1])
        self._often[name] += 1
        new = self._often[name] > self.fault.passed.get(name, 0)
        return new and form(name) not in self.fault.seen

    def _fail(
        self, name: str, path: str, tear: Callable[[], object], *, first: bool
    ) -> None:
        assert self.fault is not None
        kind = self.fault.kind
        if kind == "sigkill":
            tear()
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "kill":  # nothing is done after it
            if first:
                tear()
            raise Killed(self.failed)
        if kind == "ENOSPC" and can_fail(name, kind):  # until the end of the process
            if first:
                tear()  # what had room
            raise _system_error(errno.ENOSPC, name, self.folder + path)
        if kind == "EIO" and first:
            raise _system_error(errno.EIO, name, self.folder + path)

    def inside(self, path: object) -> str | None:
        """The path below the folder; None if it lies elsewhere."""
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        full = os.path.abspath(os.fsdecode(path))
        if full + os.sep == self.folder:
            return ""
        return full[len(self.folder) :] if full.startswith(self.folder) else None


_active: list[Record] = []  # at most one


@contextlib.contextmanager
def layer(folder: str, fault: Fault | None = None) -> Iterator[Record]:
    """Counts the operations on a folder; the one of `fault` fails."""
    _install()
    record = Record(folder, fault)
    _active.append(record)
    try:
        yield record
    finally:
        _active.remove(record)


def _system_error(number: int, name: str, path: str) -> Exception:
    words = os.strerror(number)
    if name == "tensorstore":
        status = "RESOURCE_EXHAUSTED" if number == errno.ENOSPC else "UNKNOWN"
        return ValueError(f"{status}: Failed: {words} [os_error_code='{number}']")
    if name in ("write", "fsync"):
        return OSError(number, words)  # the system knows no name here
    return OSError(number, words, path)


def _operation(
    name: str, path: object, tear: Callable[[], object] = lambda: None
) -> None:
    for record in _active:
        if (below := record.inside(path)) is not None:
            record.operation(name, below, tear)


def _audit(event: str, arguments: tuple) -> None:
    if not _active:
        return
    if event in _EVENTS:
        path = arguments[0]
        if event == "os.truncate" and isinstance(path, int):  # an open file's number
            path = _path(path)
        if (
            event in ("os.remove", "os.rmdir") and arguments[1] >= 0
        ):  # a folder's number
            path = os.path.join(_path(arguments[1]) or "", os.fsdecode(path))
        if event == "os.rmdir" and os.path.isdir(path) and os.listdir(path):
            return  # it changes nothing
        _operation(event, path)
    elif event == "open" and int(arguments[2] or 0) & _WRITING:
        _operation("open", arguments[0])


class _File(io.FileIO):
    """A file whose writes count."""

    def write(self, data: object) -> int:
        tear = io.FileIO.write
        half = bytes(data)[: len(bytes(data)) // 2]  # type: ignore[call-overload]
        _operation("write", self.name, lambda: tear(self, half))
        return super().write(data)  # type: ignore[arg-type]


_opened = io.open
_installed = threading.Event()


def _open(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **k):
    writes = set(mode) & set("wax+")
    inside = [record for record in _active if record.inside(file) is not None]
    if not (writes and inside):
        return _opened(file, mode, buffering, encoding, errors, newline, **k)
    raw = _File(file, mode.replace("b", "").replace("t", ""), **k)
    if buffering == 0:
        return raw
    buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
    if "b" in mode:
        return buffered
    return io.TextIOWrapper(buffered, encoding, errors, newline)


def _install() -> None:
    """Once in a process, since an audit hook stays."""
    if _installed.is_set():
        return
    _installed.set()
    sys.addaudithook(_audit)
    builtins.open = io.open = _open  # type: ignore[assignment]
    sync, write, pwrite, opened = os.fsync, os.write, os.pwrite, tensorstore.open

    def fsync(file):
        number = file if isinstance(file, int) else file.fileno()
        _operation("fsync", _path(number))
        return sync(file)

    def writing(function):
        def call(number, data, *rest):
            half = bytes(data)[: len(data) // 2]
            tear = lambda: function(number, half, *rest)  # noqa: E731
            _operation("write", _path(number), tear)
            return function(number, data, *rest)

        return call

    def open_array(spec, *arguments, **options):
        if options.get("create"):
            for record in _active:
                record.array(spec.to_json()["kvstore"]["base"])
        return opened(spec, *arguments, **options)

    os.fsync, os.write, os.pwrite = fsync, writing(write), writing(pwrite)
    tensorstore.open = open_array


def _path(number: int) -> str | None:
    """The path of an open file, where the system tells it (Linux)."""
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return None


def _local(database: object) -> str:
    """The folder of an OCDBT database, in either form that tensorstore gives it."""
    if isinstance(database, dict):
        return str(database["path"])
    return str(database).removeprefix("file://")
