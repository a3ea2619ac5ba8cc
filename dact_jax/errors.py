"""Errors that a user can mend: one clear sentence each, shown without a traceback."""

from collections.abc import Sequence


class InputError(ValueError):
    """A file, field or value is wrong; the message names it and what would be right."""


def check_choice(field: str, value: object, valid: Sequence[object]) -> None:
    """Refuses a value that is none of the valid ones.

    Args:
      field: as the user writes it, such as "methods.dann.form".
      value: of that field.
      valid: all that it may be.

    Raises:
      InputError: names the field and what is valid.
    """
    if value not in valid:
        listed = ", ".join(map(repr, valid))
        raise InputError(f"{field}={value!r} is unknown; valid: {listed}.")


class DivergedError(ArithmeticError):
    """A loss became NaN or infinite; the message says where."""
