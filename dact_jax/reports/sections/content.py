"""What a section of a report holds, whatever it is written in."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Table(NamedTuple):
    """A head with one name per column, and at least one row."""

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    bold: int | None = None  # number of the row whose first cell is bold


class Code(NamedTuple):
    """Text that is shown as it is."""

    text: str
    language: str  # such as "bash"


Block = str | Table | Code  # a text is one paragraph


class Section(NamedTuple):
    """A heading with what stands below it."""

    heading: str
    blocks: tuple[Block, ...]


def section(heading: str, *blocks: Block) -> Section:
    """A section without its empty paragraphs."""
    return Section(heading, tuple(block for block in blocks if block))


def percent(accuracy: float | None) -> str:
    """A fraction in % with two decimals, or "-" for None."""
    return "-" if accuracy is None else f"{100 * accuracy:.2f}"
