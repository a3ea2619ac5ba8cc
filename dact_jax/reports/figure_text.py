"""Names and titles as text in figures."""

from dact_jax import errors

_MAX_LETTERS = 18  # longer names are cut


def short(name: str) -> str:
    """A name of at most 18 characters, as `plain` text."""
    name = errors.printable(name)
    cut = name if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS - 1]}…"
    return plain(cut)


def plain(text: str) -> str:
    """Text of some lines, without what Matplotlib cannot draw or reads as formulas."""
    lines = map(errors.printable, text.split("\n"))
    return "\n".join(lines).replace("$", r"\$")
