"""Numbers and tables as Markdown text."""

from collections.abc import Iterable, Sequence
from typing import Any


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table whose numeric columns are aligned to the right.

    Args:
      head: one name per column.
      rows: at least one, each with one cell per column.
    """
    body = [[_cell(cell) for cell in row] for row in rows]
    rule = ["---:" if _numeric(column) else "---" for column in zip(*body, strict=True)]
    lines = [[_cell(cell) for cell in head], rule, *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(accuracy: float | None) -> str:
    """A fraction in % with two decimals, or "-" for None."""
    return "-" if accuracy is None else f"{100 * accuracy:.2f}"


def _cell(value: Any) -> str:
    """One line of text with pipes escaped: a bare pipe would end the cell."""
    return " ".join(str(value).split("\n")).replace("|", "\\|")


def _numeric(column: Iterable[str]) -> bool:
    return all(cell[:1].isdigit() or cell[:1] == "-" for cell in column)
