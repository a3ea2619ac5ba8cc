"""Kinds of values: what a config field or a plug-in's option may be, and the check.

A kind is declared beside the default of each field (`configuration/*_fields.py`) and
of each option (`OPTIONS` of a plug-in).
"""

import numbers
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from dact_jax import errors

MOST = 10**9  # of whole numbers without a bound of their own; fits into int32
LARGEST = 1e6  # of other numbers: far from where float32 overflows
SMALLEST = 1e-6  # of numbers that something is divided by
_SHOWN = 80  # letters of a value that an error message shows


class Kind(NamedTuple):
    """What a value may be."""

    words: str  # what is right, such as "a whole number from 1 to 10"
    fits: Callable[[Any], bool]
    path: bool = False  # whether it names a file or folder
    values: tuple[Any, ...] = ()  # all that are right, where they can be listed


class Option(NamedTuple):
    """An option of a plug-in; its default is that of `make`."""

    kind: Kind
    about: str  # what it is, in one line


def check(field: str, value: Any, kind: Kind) -> None:
    """Checks that a value is of a kind.

    Args:
      field: as the user writes it, such as "train.steps".

    Raises:
      InputError: it is not; the message says what would be right.
    """
    if not kind.fits(value):
        raise errors.InputError(f"{field}={_show(value)} must be {kind.words}.")


def whole(low: int = 0, high: int = MOST) -> Kind:
    """A whole number from low to high."""
    return Kind(
        f"a whole number from {low} to {high}",
        lambda value: _is_whole(value) and low <= value <= high,
    )


def real(low: float = 0, high: float = LARGEST, *, below: float | None = None) -> Kind:
    """A number from low to high, or from low to less than `below`."""
    words = f"from {low:.10g} to {high:.10g}"
    if below is not None:
        words = f"of at least {low:.10g} and less than {below:.10g}"

    def fits(value: Any) -> bool:
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:  # NaN is in no range
            return False
        return below is None or value < below

    return Kind(f"a number {words}", fits)


def positive(high: float = LARGEST) -> Kind:
    """A number that something may be divided by."""
    return real(SMALLEST, high)


def width() -> Kind:
    """The number of units of a layer."""
    return whole(1, 65536)


def rate() -> Kind:
    """A share of units that dropout sets to 0."""
    return real(below=1)


def flag() -> Kind:
    """True or False."""
    return Kind("True or False", lambda value: isinstance(value, bool))


def choice(*values: Any) -> Kind:
    """One of some values."""

    def fits(value: Any) -> bool:
        return any(type(value) is type(each) and value == each for each in values)

    return Kind(f"one of {', '.join(map(repr, values))}", fits, values=values)


def text() -> Kind:
    """A text without control characters."""
    return Kind("a text in one line", _is_text)


def path() -> Kind:
    """The name of a file or folder, or an empty text."""
    return Kind("a text, the name of a file or folder", _is_text, path=True)


def each(kind: Kind, *, counts: Collection[int] | None = None) -> Kind:
    """A tuple or list of values of one kind, one or more.

    Args:
      counts: how many there may be; by default any number but zero.
    """
    number = "one or more" if counts is None else " or ".join(map(str, counts))

    def fits(value: Any) -> bool:
        if not isinstance(value, (tuple, list)):
            return False
        right = bool(value) if counts is None else len(value) in counts
        return right and all(map(kind.fits, value))

    return Kind(f"a tuple of {number}, each {kind.words}", fits)


def like(default: Any) -> Kind:
    """Any finite value of a default's type, where nothing else is declared."""
    if isinstance(default, bool):
        return flag()
    if isinstance(default, int):
        return whole(-MOST)
    if isinstance(default, float):
        return real(-LARGEST)
    if isinstance(default, str):
        return text()
    return Kind(
        f"of type {type(default).__name__}, such as {default!r}",
        lambda value: isinstance(value, type(default)),
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any(ord(letter) < 32 for letter in value)


def _show(value: Any) -> str:
    if _is_whole(value) and abs(value) >= 10**_SHOWN:
        return "(a number of more than 80 digits)"  # Python may refuse to write it
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
