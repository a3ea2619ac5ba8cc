"""Text and binary files on the disk: whole or not at all, and flushed."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

# newline="" keeps line ends inside ids; surrogateescape carries file names that are not
# UTF-8, and a character that a killed process left half written.
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


def read_text(path: pathlib.Path) -> str:
    """The text of a file, line ends as they are; "" if there is no such file."""
    if not path.exists():
        return ""
    with path.open(**_ENCODING) as file:  # type: ignore[call-overload]
        return str(file.read())


def append_text(path: pathlib.Path, text: str) -> None:
    """Adds text at the end of a file; it is on the disk when this returns."""
    with path.open("a", **_ENCODING) as file:  # type: ignore[call-overload]
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_atomic(path: pathlib.Path, content: str | bytes) -> None:
    """Replaces a file; a process killed meanwhile leaves the old file or the new one.

    Args:
      path: of the file; its folder must exist.
      content: all of it; text is encoded as UTF-8.
    """
    with atomic(path) as draft:
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogateescape")
        draft.write_bytes(content)


@contextlib.contextmanager
def atomic(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the path of a draft that takes the place of `path` when the block ends.

    An exception in the block leaves `path` as it was and removes the draft.

    Args:
      path: of the file; its folder must exist.
    """
    draft = temporary(path)
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def temporary(path: pathlib.Path) -> pathlib.Path:
    """The draft of a file, which a killed process may leave beside it."""
    return path.with_name(f"{path.name}.tmp")
