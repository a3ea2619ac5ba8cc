"""One process in a folder at a time: a lock that the operating system takes back.

The lock is `flock` on a file in the folder. It ends with its process, however that
ends. Unlike `lockf`, it belongs to one opening of the file: a second attempt by the
same process is refused too, and reading who holds it does not give it up. On NFS the
server keeps it, so it holds across hosts.
"""

import contextlib
import datetime
import errno
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator

from absl import logging

from dact_jax import errors

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FILE = ".lock"

_HELD = (errno.EAGAIN, errno.EACCES)  # what flock raises while another holds the lock
UNKNOWN = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_PATIENCE = 1.0  # seconds of waiting before a line says so: some only look something up
_PAUSE = 0.2  # seconds between two attempts


@contextlib.contextmanager
def hold(
    folder: pathlib.Path, *, flag: str = "--workdir", wait: bool = False
) -> Iterator[None]:
    """Keeps other processes out of a folder while the block runs.

    The folder is made if it is missing; if nothing was written into it by the end, it
    is removed again. Where there are no locks (Windows, some file systems), a warning
    says so. A folder that this process may only read needs no lock.

    Args:
      flag: the command-line flag that names the folder, for error messages.
      wait: wait while another process is in the folder, instead of giving up.

    Raises:
      InputError: another process is in the folder.
    """
    made = not folder.exists()
    file = _acquire(folder, flag=flag, wait=wait)
    try:
        yield
    finally:
        if file is not None:
            _release(file, folder)
        if made:
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()


def _acquire(folder: pathlib.Path, *, flag: str, wait: bool) -> int | None:
    """The descriptor of the locked file; None where there is nothing to lock."""
    if fcntl is None:
        warn(folder, "this operating system has none that this program knows")
        return None
    started, told = time.monotonic(), False
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        file = _open(folder / FILE)
        if file is None:
            return None
        try:
            taken = _take(file, folder)
            if taken and _is_current(file, folder / FILE):
                _write_holder(file)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        if taken:  # but the process before has removed the file in the meantime
            continue
        if not wait:
            raise errors.InputError(
                f"{_in_use(folder)}: wait until it ends, or give another {flag}."
            )
        if not told and time.monotonic() - started > _PATIENCE:
            logging.warning("%s: this run waits until it ends.", _in_use(folder))
            told = True
        time.sleep(_PAUSE)


def _release(file: int, folder: pathlib.Path) -> None:
    """Removes the file while the lock still holds, then ends the lock."""
    try:
        (folder / FILE).unlink()
    except OSError:  # the folder was removed, or may not be written to any more
        pass
    finally:
        os.close(file)


def _open(path: pathlib.Path) -> int | None:
    """None where the folder may only be read."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if error.errno in _READ_ONLY and not os.access(path.parent, os.W_OK):
            return None
        raise


def _take(file: int, folder: pathlib.Path) -> bool:
    """Whether no other process holds the lock; it is this one's then."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno not in UNKNOWN:
            raise OSError(error.errno, error.strerror, str(folder / FILE)) from None
        warn(folder, "its file system has none")
    return True


def warn(place: pathlib.Path | str, reason: str) -> None:
    """Says that a folder or file has no lock, and why."""
    logging.warning(
        "%s has no lock, because %s: start no second process with this folder.",
        place,
        reason,
    )


def _is_current(file: int, path: pathlib.Path) -> bool:
    """Whether the path still leads to the file that was opened."""
    try:
        with path.open("rb") as now:  # opening asks the server, where stat may not
            return os.path.samestat(os.fstat(file), os.fstat(now.fileno()))
    except FileNotFoundError:
        return False


def _write_holder(file: int) -> None:
    """Says who holds the lock; on a full disk others are told less, but refused too."""
    now = datetime.datetime.now(datetime.UTC)
    holder = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": f"{now:%Y-%m-%d %H:%M:%S} UTC",
    }
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(holder).encode(), 0)


def _in_use(folder: pathlib.Path) -> str:
    """A clause that says who is in the folder."""
    for _ in range(5):  # the other process may be about to write who it is
        try:
            holder = json.loads((folder / FILE).read_bytes())
            process, host, since = (holder[k] for k in ("process", "host", "since"))
        except (OSError, ValueError, KeyError, TypeError):
            time.sleep(_PAUSE / 4)
        else:
            return f"{folder} is in use by process {process} on {host} since {since}"
    return f"{folder} is in use by another process"
