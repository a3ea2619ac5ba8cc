"""Text and binary files on the disk: whole or not at all, and flushed."""

import contextlib
import errno
import glob
import os
import pathlib
import re
import secrets
import time
from collections.abc import Iterator

# newline="" keeps line ends inside ids; surrogateescape carries file names that are not
# UTF-8, and a character that a killed process left half written.
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
# Endings of files in the folder of a run.
_WRITTEN = (".csv", ".html", ".md", ".png", ".yaml")
_CANNOT = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # no way to flush a folder
_FORGOTTEN = 24 * 3600.0  # seconds after which nobody writes a draft any more
# How tensorstore ends the message of a write that the system refused.
_OS_ERROR_CODE = re.compile(r"os_error_code='(\d+)'")


def user_cache() -> pathlib.Path:
    """The package's folder in the user's caches: $XDG_CACHE_HOME, or ~/.cache.

    Raises:
      OSError: the user has no home folder, as in some containers.
    """
    # The standard for XDG_CACHE_HOME has a relative path ignored.
    for home in (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):
        if os.path.isabs(home):
            return pathlib.Path(home, "dact_jax")
    reason = "there is no home folder; set XDG_CACHE_HOME to a folder for caches"
    raise FileNotFoundError(errno.ENOENT, reason, "~/.cache")


def read_text(path: pathlib.Path) -> str:
    """The text of a file, line ends as they are; "" if there is no such file."""
    if not path.exists():
        return ""
    with naming(path), path.open(**_ENCODING) as file:  # type: ignore[call-overload]
        return str(file.read())


def append_text(path: pathlib.Path, text: str) -> None:
    """Adds text at the end of a file; it is on the disk when this returns."""
    with naming(path), path.open("a", **_ENCODING) as file:  # type: ignore[call-overload]
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_atomic(
    path: pathlib.Path, content: str | bytes, *, shared: bool = False
) -> None:
    """Replaces a file; a process killed meanwhile leaves the old file or the new one.

    Args:
      path: of the file; its folder must exist.
      content: all of it; text is encoded as UTF-8.
      shared: as in `atomic`.
    """
    with atomic(path, shared=shared) as draft:
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogateescape")
        draft.write_bytes(content)


@contextlib.contextmanager
def atomic(path: pathlib.Path, *, shared: bool = False) -> Iterator[pathlib.Path]:
    """Yields the path of a draft that takes the place of `path` when the block ends.

    An exception in the block leaves `path` as it was and removes the draft.

    Args:
      path: of the file; its folder must exist.
      shared: whether another process may write the same file meanwhile. Each has a
        draft of its own then, and the last one's file stays.
    """
    draft = _own_draft(path) if shared else temporary(path)
    try:
        with naming(path):
            yield draft
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            draft.unlink(missing_ok=True)
        raise


def flush_names(folder: pathlib.Path) -> None:
    """Makes the names in a folder last, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(handle)


def _own_draft(path: pathlib.Path) -> pathlib.Path:
    """The draft of this process alone; those of killed processes are removed."""
    for old in path.parent.glob(f"{glob.escape(path.name)}.*-*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _FORGOTTEN:
                old.unlink()
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def temporary(path: pathlib.Path) -> pathlib.Path:
    """The draft of a file, which a killed process may leave beside it."""
    return path.with_name(f"{path.name}.tmp")


def remove_drafts(folder: pathlib.Path) -> None:
    """Removes the drafts that a killed process left in a folder that this one holds.

    Only those of files as a run writes them; what else ends in .tmp is not its own.
    """
    for ending in _WRITTEN:
        for draft in folder.glob(f"*{ending}.tmp"):
            if draft.is_file():
                with naming(draft):
                    draft.unlink()


@contextlib.contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
    """Makes the system's errors name `path`: those of open files name none.

    Libraries report a full disk in their own ways; each becomes an OSError here.

    Raises:
      OSError: with the number of the system's error, its words, and the path.
    """
    try:
        yield
    except Exception as error:
        number = system_error(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def system_error(error: BaseException | None) -> int | None:
    """The number of the system's error that an error is, tells of or comes from."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        if found := _OS_ERROR_CODE.search(str(error)):
            return int(found[1])
        error = error.__cause__ or error.__context__
    return None
