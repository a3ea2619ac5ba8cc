"""Names and titles as text in figures."""

_MAX_LETTERS = 18  # longer names are cut


def short(name: str) -> str:
    """A name of at most 18 characters, as `plain` text."""
    cut = name if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS - 1]}…"
    return plain(cut)


def plain(text: str) -> str:
    """Text with dollar signs escaped, which Matplotlib would read as formulas."""
    return text.replace("$", r"\$")
