"""Texts in the cells of CSV files, which spreadsheets must show and never run."""

import re
from collections.abc import Iterable
from typing import Any

# A spreadsheet takes a cell for a formula if it begins with one of these, perhaps after
# blanks or quotation marks. Those of full width count in East Asian versions.
_FORMULA = r"(?:[^\S\t\r\n]|[\"\ufeff\u200b])*[=+\-@＝＋－＠]"
# A cell begins where its text begins. One that expects other separators (Excel does, by
# the country) also begins a cell after each of these, in spite of the quotes around it.
_START = r"(?:\A|(?<=[;,\t\r\n]))"
# Quotes that are in the text already are followed by one more, so that `restore` knows.
_UNSAFE = rf"(?:\A(?='*[\t\r\n])|{_START}(?='*{_FORMULA}))"
_SAFE = rf"(?:\A'(?='*[\t\r\n])|{_START}'(?='*{_FORMULA}))"


def neutralize(text: str) -> str:
    """The text with an apostrophe before each place that would be run as a formula."""
    return re.sub(_UNSAFE, "'", text)


def restore(text: str) -> str:
    """The text that `neutralize` was given, whatever it was.

    A text that was written without `neutralize` stays as it is, unless an apostrophe
    comes right before a formula in it.
    """
    return re.sub(_SAFE, "", text)


def neutralize_row(values: Iterable[Any]) -> list[Any]:
    """The values of a row, its texts neutralized; numbers stay numbers."""
    return [neutralize(value) if isinstance(value, str) else value for value in values]
