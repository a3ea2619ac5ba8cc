"""README and docs/ taken apart: fenced blocks, links, headings, shell commands."""

import collections
import pathlib
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

PAGES = (pathlib.Path("README.md"), *sorted(pathlib.Path("docs").rglob("*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)
_INLINE = re.compile(r"`((?:python3?|dact-jax) [^`]+)`")


class Block(NamedTuple):
    language: str  # empty where the fence names none
    text: str


class Command(NamedTuple):
    """`python -m dact_jax.main --config=x` is ("dact_jax.main", ["--config=x"])."""

    program: str  # a module; "pip", "venv" and "pytest" stand for themselves
    arguments: list[str]


def blocks(text: str, language: str) -> list[Block]:
    return [Block(*m) for m in _FENCE.findall(text) if m[0] == language]


def prose(text: str) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> Iterator[tuple[str, str]]:
    """(shown text, target) of every link and picture outside code."""
    without_code = re.sub(r"`[^`]*`", "`code`", prose(text))
    return ((shown, target) for _, shown, target in _LINK.findall(without_code))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    found: set[str] = set()
    times: collections.Counter[str] = collections.Counter()
    for heading in _HEADING.findall(prose(text)):
        shown = _LINK.sub(r"\2", heading).replace("`", "").replace("*", "")
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(f"{slug}-{times[slug]}" if times[slug] else slug)
        times[slug] += 1
    return found


def commands(text: str) -> Iterator[Command]:
    """Every shell command of a page, in a block or in the text."""
    lines = [line for _, block in blocks(text, "bash") for line in _joined(block)]
    lines += _INLINE.findall(prose(text))
    for line in lines:
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words:
                yield _command(words)


def _joined(block: str) -> list[str]:
    """Lines of a block, those that end in a backslash with the next."""
    return block.replace("\\\n", " ").splitlines()


def _command(words: list[str]) -> Command:
    program, *arguments = words
    program = program.removeprefix(".venv/bin/")
    if program == "dact-jax":
        return Command(f"dact_jax.{arguments[0]}", arguments[1:])
    if program in ("python", "python3") and arguments[0] == "-m":
        return Command(arguments[1], arguments[2:])
    if program in ("python", "python3"):
        module = arguments[0].removesuffix(".py").replace("/", ".")
        return Command(module, arguments[1:])
    return Command(program, arguments)
