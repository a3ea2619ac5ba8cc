"""Errors that a user can correct: one sentence each, shown without a traceback."""

import difflib
import os
from collections.abc import Collection, Sequence
from typing import Any

_EXHAUSTED = "Out of memory"  # as XLA says it
_LISTED = 12  # valid names that a suggestion spells out
_QUOTED = 80  # characters of a text that a message repeats
_LINE = 2000  # characters of a line of a message
_NEXT = "\n  "  # before each further line of a message
_CLAUSE = 240  # characters of another library's message


class InputError(ValueError):
    """A file, field or value is wrong; the message names it and what would be right.

    It is one sentence, perhaps with a list on lines that begin with two blanks. What it
    repeats of a file cannot add lines, control a terminal or fill the screen: control
    characters are shown as escapes, and the middle of a line is cut.
    """

    def __init__(self, message: str) -> None:
        lines = map(_shown, message.split(_NEXT))
        super().__init__(_NEXT.join(lines))


def check_choice(field: str, value: object, valid: Sequence[object]) -> None:
    """Raises InputError unless the value is one of the valid ones.

    Args:
      field: as the user writes it, such as "methods.dann.form".
    """
    if value not in valid:
        listed = ", ".join(map(repr, valid))
        raise InputError(f"{field}={value!r} is unknown; valid: {listed}.")


class DivergedError(ArithmeticError):
    """A loss became NaN or infinite; the message says where."""


def suggestion(word: str, known: Collection[str]) -> str:
    """A clause for the end of an error message: the known name that is most similar.

    Without a similar name it lists the known ones (twelve at most).
    """
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    listed = ", ".join(map(repr, list(known)[:_LISTED]))
    more = len(known) - _LISTED
    tail = f", and {more} more" if more > 0 else ""
    return f"valid: {listed}{tail}." if known else "it takes none."


class StoppedError(Exception):
    """The run was asked to stop and has saved where it is; the message says where."""


class AwaitingLabels(Exception):  # noqa: N818 (it is no error)
    """A person has to label images before the run can go on; the query is written."""

    def __init__(self, query: Any, missing: Sequence[str]) -> None:
        super().__init__(f"{len(missing)} labels are missing")
        self.query, self.missing = query, tuple(missing)


def sentence(error: Exception) -> str | None:
    """What to tell a user about an error that they can correct; None for others."""
    if isinstance(error, (InputError, DivergedError)):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        reason = error.strerror or f"error {error.errno}"
        if error.filename is None:
            return f"output could not be written, or a file not read: {reason}."
        return f"{printable(error.filename)}: {reason}."
    if is_out_of_memory(error):
        first = str(error).strip().partition("\n")[0].rstrip(".")
        detail = first[max(first.find(_EXHAUSTED), 0) :]
        return f"there is not enough memory{detail and f' ({detail})'}."
    return None


def printable(name: object) -> str:
    """A name as one line for a message: what cannot be printed is escaped.

    So are the bytes of a file's name that are not UTF-8.
    """
    text = os.fsdecode(name) if isinstance(name, bytes) else str(name)
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    byte = ord(character) - 0xDC00  # how `surrogateescape` carries it
    if 0x80 <= byte <= 0xFF:
        return f"\\x{byte:02x}"
    return character.encode("unicode_escape").decode()


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python, NumPy or XLA could not get memory."""
    # XLA's error is a RuntimeError that begins with a status, though not always this.
    text = str(error) if isinstance(error, RuntimeError) else ""
    exhausted = "RESOURCE_EXHAUSTED" in text or _EXHAUSTED in text
    return exhausted or isinstance(error, MemoryError)


def _shown(line: str) -> str:
    if len(line) > _LINE:
        line = f"{line[: _LINE // 2]} ... {line[len(line) - _LINE // 4 :]}"
    return printable(line)


def quoted(value: object) -> str:
    """A value from a file for a message: on one line, and not longer than one."""
    if isinstance(value, str) and len(value) > _QUOTED:
        return f"{value[:_QUOTED]!r}..."
    is_long = isinstance(value, int) and value.bit_length() > 4 * _QUOTED
    text = "a large number" if is_long else repr(value)
    return text if len(text) <= 2 * _QUOTED else f"{text[: 2 * _QUOTED]}..."


def clause(error: BaseException) -> str:
    """What a library says of an error, as a part of one sentence."""
    text = " ".join(str(error)[:_CLAUSE].split()).rstrip(".") or type(error).__name__
    return printable(text)
