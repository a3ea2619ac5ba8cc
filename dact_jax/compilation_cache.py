"""Compiled programs kept on the disk, so that the next process compiles nothing anew.

JAX's own cache writes its entries in place, so a killed process or a full disk leaves
half ones, which every later process would fail to read. Here each process gives JAX a
folder of its own, with entries that were checked; what it has compiled is added to the
shared folder at its end, whole and under the digest of its content. Of a process that
was killed, the next one does so.
"""

import contextlib
import hashlib
import importlib
import os
import pathlib
import platform
import shutil
import stat
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jaxlib
from jax.experimental.compilation_cache import compilation_cache

from dact_jax import errors, paths, storage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FLAG = "compilation_cache"  # of all commands that compile
NONE = "none"
LIMIT = 256 * 2**20  # bytes of all kept programs of a user; the oldest go first
_FORGOTTEN = 30 * 24 * 3600.0  # seconds after which no process uses its folder any more
_OWN = "process-"
_LOCK = "lock"  # in a process's folder; held as long as it lives
# JAX keeps no program that compiles within a second, unless told to. Its cache of
# XLA's tuning would be another file that is written in place.
_SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    "jax_persistent_cache_enable_xla_caches": "none",
    "jax_enable_compilation_cache": True,
}


@contextlib.contextmanager
def kept(where: str | os.PathLike[str] = "") -> Iterator[None]:
    """Keeps the programs that are compiled in the block, and uses those kept before.

    By default nothing is kept where JAX has a cache of its own
    (JAX_COMPILATION_CACHE_DIR) or is told to have none
    (JAX_ENABLE_COMPILATION_CACHE=false), nor where the folder cannot be written, or
    belongs to somebody else: a kept program is code that will run.

    Args:
      where: folder of all kept programs, whatever JAX is told; "": one in the user's
        caches; "none": nothing is kept in the block.

    Raises:
      InputError: the folder that was named cannot be used.
      OSError: nothing could be written into it.
    """
    if os.fspath(where) == NONE:
        with _configured({"jax_enable_compilation_cache": False}):
            yield
        return
    check(where)
    if not where and (
        _setting("jax_compilation_cache_dir")
        or not _setting("jax_enable_compilation_cache")
    ):
        yield
        return
    with contextlib.ExitStack() as stack:
        with contextlib.nullcontext() if where else contextlib.suppress(OSError):
            shared = _open(_root(where))
            for old in shared.glob(f"{_OWN}*"):
                _take_over(old, shared)
            own = stack.enter_context(_own_folder(shared))
            _check_out(shared, own)
            settings = {**_SETTINGS, "jax_compilation_cache_dir": str(own)}
            stack.enter_context(_configured(settings))
        yield


def check(where: str | os.PathLike[str]) -> None:
    """Checks that programs can be kept in the folder that a user names.

    Raises:
      InputError: it is a file, or cannot be written to or made, or others may write to
        it.
    """
    if not where or os.fspath(where) == NONE:
        return
    root = _root(where)
    paths.check_folder(root, f"--{FLAG}")
    try:
        _open(root)
    except OSError as error:
        reason = error.strerror or str(error)
        raise errors.InputError(
            f"--{FLAG}={errors.printable(root)}: {reason}; give another folder, or "
            f"--{FLAG}={NONE} to keep no programs."
        ) from None


def _root(where: str | os.PathLike[str]) -> pathlib.Path:
    if not where:
        return storage.user_cache() / "compiled"
    return pathlib.Path(paths.expanded(where, f"--{FLAG}")).absolute()


def _open(root: pathlib.Path) -> pathlib.Path:
    """The folder of the programs for this processor and these versions.

    Raises:
      OSError: it cannot be made, or others may write to it.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = root.stat()
    others = stat.S_IWGRP | stat.S_IWOTH
    if hasattr(os, "getuid") and (
        status.st_uid != os.getuid() or status.st_mode & others
    ):
        raise PermissionError("others may write to it, and kept programs are run")
    shared = root / _machine()
    shared.mkdir(mode=0o700, exist_ok=True)
    return shared


def _machine() -> str:
    """Names what a compiled program depends on that JAX's own key leaves out."""
    described = [jax.__version__, jaxlib.__version__, platform.platform()]
    described.append(str(_cores()))
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        kinds = ("model name", "flags", "Features", "CPU part")
        described += sorted({line for line in lines if line.startswith(kinds)})
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:16]


def _cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


@contextlib.contextmanager
def _own_folder(shared: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder for this process; a lock in it shows others that the process lives."""
    own = pathlib.Path(tempfile.mkdtemp(prefix=_OWN, dir=shared))
    draft = own / f"{_LOCK}.tmp"  # nobody knows it before it is locked
    with draft.open("wb") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.rename(own / _LOCK)
        try:
            yield own
        finally:
            _close(own, shared)


def _take_over(old: pathlib.Path, shared: pathlib.Path) -> None:
    """Adds what a killed process compiled to the shared entries, as it had not."""
    with contextlib.suppress(OSError):  # another process does so, or it has no lock
        if time.time() - old.stat().st_mtime > _FORGOTTEN:
            shutil.rmtree(old, ignore_errors=True)
        elif fcntl is not None:
            with (old / _LOCK).open("rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _close(old, shared)


def _check_out(shared: pathlib.Path, own: pathlib.Path) -> None:
    """Gives a process the entries that are undamaged; the others are removed."""
    for entry in shared.glob("*-cache.*"):
        name, _, digest = entry.name.rpartition(".")
        with contextlib.suppress(OSError):  # another process removed it
            twice = (own / name).exists()  # two processes compiled it at once
            if twice or _digest(entry.read_bytes()) != digest:
                entry.unlink()
            else:
                _link(entry, own / name)


def _link(entry: pathlib.Path, place: pathlib.Path) -> None:
    try:
        os.link(entry, place)
    except OSError:  # a file system without hard links
        shutil.copyfile(entry, place)


def _close(own: pathlib.Path, shared: pathlib.Path) -> None:
    """Adds what a process compiled to the shared entries and removes its folder."""
    with contextlib.suppress(OSError):
        there = {entry.name.rpartition(".")[0] for entry in shared.glob("*-cache.*")}
        for entry in own.glob("*-cache"):
            if entry.name not in there and _is_whole(content := entry.read_bytes()):
                os.replace(entry, shared / f"{entry.name}.{_digest(content)}")
        _keep_within(LIMIT, shared.parent)
    shutil.rmtree(own, ignore_errors=True)


def _is_whole(content: bytes) -> bool:
    """Whether an entry of JAX's is complete: a full disk may have cut it."""
    try:
        return bool(_unpack()(content))
    except Exception:  # each library of compression has its own
        return False


def _unpack() -> Callable[[bytes], bytes]:
    """Reverses JAX's packing: by the first of these that is installed."""
    with contextlib.suppress(ImportError):  # Python 3.14
        return importlib.import_module("compression.zstd").decompress
    with contextlib.suppress(ImportError):
        return importlib.import_module("zstandard").ZstdDecompressor().decompress
    return zlib.decompress


def _keep_within(limit: int, root: pathlib.Path) -> None:
    """Removes the oldest entries of all machines and versions until the rest fits."""
    found = sorted(
        ((path.stat(), path) for path in root.glob("*/*-cache.*")), key=_when
    )
    total = sum(status.st_size for status, _ in found)
    for status, path in found:
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        total -= status.st_size


def _when(found: tuple[os.stat_result, pathlib.Path]) -> float:
    return found[0].st_mtime


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


@contextlib.contextmanager
def _configured(settings: Mapping[str, Any]) -> Iterator[None]:
    """JAX has these settings in the block."""
    before = {name: _setting(name) for name in settings}
    _configure(settings)
    try:
        yield
    finally:
        _configure(before)


def _setting(name: str) -> Any:
    return getattr(jax.config, name)


def _configure(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # JAX looks at its settings once only
