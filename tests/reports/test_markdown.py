"""Names from outside as Markdown: shown as they are, never run."""

import html
import re

import pytest

from dact_jax.reports import markdown

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "[win](javascript:alert(1))",
    "![x](http://a.b/c.png)",
    "a | b",
    "a\nb\r\nc\u2028d",
    "`rm -rf`",
    "**bold** _x_ ~~y~~",
    "# title",
    "&lt;b&gt;",
    "back\\slash \\| \\<",
    "http://a.b and www.a.b",
    "$x$",
    "\udcff\u202e\x00",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_is_shown_as_text(text):
    escaped = markdown.escape(text)
    assert len(escaped.splitlines()) == 1
    # Nothing of these is left without a backslash.
    assert not re.search(r"(?<!\\)(\\\\)*[`*\[\]!]", escaped)
    assert not re.search(r"[<>|~$]|&(?![a-z]+;|#\d+;)|https?:|www\.", escaped)
    escaped.encode()  # bytes that are not UTF-8 are spelled out


@pytest.mark.parametrize("text", ["k_center", "dog", "0/300", "acc_s %", "a (b) + c"])
def test_plain_names_stay_as_they_are(text):
    assert markdown.escape(text) == text


def test_what_is_shown_is_the_name():
    for text in HOSTILE[:4] + HOSTILE[5:-1]:
        shown = re.sub(r"\\([\\`*\[\]!#_])", r"\1", markdown.escape(text))
        assert html.unescape(shown) == text


def test_a_table_has_one_line_a_row_and_one_cell_a_column():
    text = markdown.table(("class", "n"), [("a|b\n<b>", 1), ("c", 2)], bold=1)
    assert text.splitlines() == [
        "| class | n |",
        "| --- | ---: |",
        "| a&#124;b &lt;b&gt; | 1 |",
        "| **c** | 2 |",
    ]


def test_a_block_of_code_ends_at_its_end():
    block = markdown.code("a ```\n```` b", "bash")
    assert block == "`````bash\na ```\n```` b\n`````"
    assert markdown.code("a", "text") == "```text\na\n```"
