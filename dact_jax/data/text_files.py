"""Text files as people's programs write them: UTF-8, UTF-16 or Windows-1252."""

import codecs
import pathlib
import re

from absl import logging

from dact_jax import errors

# A mark at the start of a file -> its encoding. That of UTF-32 begins as that of
# UTF-16 does, so it comes first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Words of Western languages hardly ever have three such letters in a row; words in
# other scripts do.
_OTHER_SCRIPT = re.compile(r"[^\x00-\x7f]{3}")


def read(path: pathlib.Path) -> str:
    """The text of a file, without a byte-order mark; line ends stay as they are.

    A file that is not UTF-8 is read as Windows-1252, which spreadsheets of Western
    countries write, if it can be nothing else; the log says so.

    Raises:
      InputError: there is no such file, it cannot be opened, or it is not text of
        these encodings; the message names the line.
    """
    raw = _bytes(path)
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise errors.InputError(
                f"{path} begins as {encoding.removesuffix('-sig').upper()} text, but "
                f"byte {error.start} does not belong to it: save it as UTF-8."
            ) from None
        text = _as_windows(path, raw, error.start)
    if "\0" in text:
        raise errors.InputError(
            f"{path}, line {_line(text, text.index(chr(0)))}: there is a NUL "
            "character, which no text has: save the file as UTF-8 text."
        )
    return text


def lines(text: str) -> list[str]:
    """The lines of a text, without their ends, which are those of any system."""
    return re.split(r"\r\n|\n|\r", text)


def _bytes(path: pathlib.Path) -> bytes:
    if not path.exists():
        raise errors.InputError(f"there is no file {path}.")
    if not path.is_file():
        raise errors.InputError(f"{path} is not a file.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise errors.InputError(
            f"{path} is not readable: {error.strerror or error}."
        ) from None


def _as_windows(path: pathlib.Path, raw: bytes, start: int) -> str:
    """The text of a file whose byte `start` is not UTF-8."""
    where = f"{path}, line {_line(raw[:start].decode('latin-1'), start)}"
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError:
        text = ""
    if not text or not raw.decode("utf-8", "ignore").isascii():
        raise errors.InputError(
            f"{where}: this is neither UTF-8 nor Windows-1252 text: save the file as "
            "UTF-8."
        )
    found = _OTHER_SCRIPT.search(text)
    if found:
        raise errors.InputError(
            f"{path}, line {_line(text, found.start())}: the text is not UTF-8, and "
            f"{found[0]!r} would be odd in Windows-1252: save the file as UTF-8."
        )
    logging.warning("%s is not UTF-8: it is read as Windows-1252.", path)
    return text


def _line(text: str, position: int) -> int:
    """The number of the line, from 1, that a character is in."""
    return len(lines(text[:position]))
