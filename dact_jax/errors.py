"""Errors that a user can mend: one clear sentence each, shown without a traceback."""


class InputError(ValueError):
    """A file, field or value is wrong; the message names it and what would be right."""


class DivergedError(ArithmeticError):
    """A loss became NaN or infinite; the message says where."""
