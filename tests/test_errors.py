"""What messages may repeat of files."""

import pytest

from dact_jax import errors


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("a.txt is wrong.", "a.txt is wrong."),
        ("a\nb.txt\r is \x1b[31mred\0.", r"a\nb.txt\r is \x1b[31mred\x00."),
        ("\udcff.png is größer.", r"\xff.png is größer."),
        ("lone \ud800, \u2028, \u202e.", r"lone \ud800, \u2028, \u202e."),
        ("2 files:\n  a.png\n  b\n.png", "2 files:\n  a.png\n  b\\n.png"),
    ],
)
def test_a_message_is_one_line_and_perhaps_a_list(message, shown):
    error = errors.InputError(message)
    assert str(error) == shown
    assert str(errors.InputError(shown)) == shown


def test_a_message_does_not_fill_the_screen():
    message = str(errors.InputError(f"x.csv, line 1: {'y' * 10**6} is no class."))
    assert len(message) < 2000
    assert message.startswith("x.csv, line 1: yy")
    assert message.endswith("yy is no class.")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("conv1", "'conv1'"),
        ("a\n", r"'a\n'"),
        ("x" * 10**6, "'" + "x" * 80 + "'..."),
        (7, "7"),
        (10**1000, "a large number"),
        (("x" * 200,), "('" + "x" * 158 + "..."),
    ],
)
def test_quoted(value, shown):
    assert errors.quoted(value) == shown


def test_clause():
    assert errors.clause(ValueError("first\n  second.\0")) == r"first second.\x00"
    assert errors.clause(ValueError()) == "ValueError"
    assert len(errors.clause(ValueError("x" * 10**6))) < 300
