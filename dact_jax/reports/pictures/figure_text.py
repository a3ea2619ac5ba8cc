"""Names and titles as text in figures."""

from dact_jax import errors

_MAX_LETTERS = 18  # longer names are cut


def short(name: str, *, most: int = _MAX_LETTERS) -> str:
    """A name of at most so many characters on one line, as `plain` text."""
    line = errors.printable(name)
    return plain(line if len(line) <= most else f"{line[: most - 1]}…")


def plain(text: str) -> str:
    """Text that Matplotlib draws as it is, whatever characters are in it.

    It would read dollar signs as formulas, and fail at bytes that are not UTF-8.
    """
    lines = map(errors.printable, text.split("\n"))
    return "\n".join(lines).replace("$", r"\$")
