"""Text, numbers and tables as Markdown. Names from outside are shown, never run."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from dact_jax import errors
from dact_jax.reports.sections.content import Block, Code, Section, Table

# Entities, since not every program takes a backslash before these.
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ENTITIES |= {letter: f"&#{ord(letter)};" for letter in "|~$"}
# An underscore inside a word, as in k_center, is one.
_MARKS = re.compile(r"[\\`*\[\]!#]|(?<![^\W_])_|_(?![^\W_])")
_ADDRESS = re.compile(r"(?i)\b(?:(?:https?|ftp):|www\.)")  # that GitHub makes a link


def escape(value: Any) -> str:
    """One line of Markdown that shows a text as it is: no markup, HTML or link."""
    text = errors.printable(" ".join(str(value).splitlines()))
    text = _MARKS.sub(r"\\\g<0>", text)
    text = "".join(_ENTITIES.get(letter, letter) for letter in text)
    return _ADDRESS.sub(lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};", text)


def table(
    head: Sequence[str], rows: Iterable[Sequence[Any]], *, bold: int | None = None
) -> str:
    """A table whose numeric columns are aligned to the right; its cells are escaped.

    Args:
      head: one name per column.
      rows: at least one, each with one cell per column.
      bold: number of the row whose first cell is bold.
    """
    body = [[escape(cell) for cell in row] for row in rows]
    rule = ["---:" if _numeric(column) else "---" for column in zip(*body, strict=True)]
    if bold is not None:
        body[bold][0] = f"**{body[bold][0]}**"
    lines = [[escape(cell) for cell in head], rule, *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(section: Section | None) -> str:
    """A section below a heading of the second level; "" for None."""
    if section is None:
        return ""
    return "\n\n".join([f"## {section.heading}", *map(_block, section.blocks)])


def _block(block: Block) -> str:
    match block:
        case Table():
            return table(block.head, block.rows, bold=block.bold)
        case Code():
            return code(block.text, block.language)
    return block


def code(text: str, language: str) -> str:
    """A block of text that is shown as it is, backticks included.

    Args:
      language: such as "bash".
    """
    fence = max(["```", *(f"{run}`" for run in re.findall("`+", text))], key=len)
    return f"{fence}{language}\n{text}\n{fence}"


def _numeric(column: Iterable[str]) -> bool:
    return all(cell[:1].isdigit() or cell[:1] == "-" for cell in column)
