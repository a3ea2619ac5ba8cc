import csv
import io
import itertools

import numpy as np
import pytest

from dact_jax import cells

FORMULAS = (
    "=1+1",
    "+1",
    "-cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1+1",
    "  =1+1",
    "\xa0=1",
    '"=1"',
    "a;=HYPERLINK(1);b",  # Excel splits at ";" where "," is the decimal sign
    "a, @x",
    "a\n-1",
    'a;"=1"',
)
PLAIN = ("", "photo/dog/1.jpg", "a-b=c+d@e", "'", "''a", "'tis", "a;b,c", "é ü", "1-2")


def read_as(separator, text):
    """Cells as a lenient program reads a line, which knows another separator."""
    return [cell.strip(' "') for cell in text.replace("\n", separator).split(separator)]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_a_text(text):
    safe = cells.neutralize(text)
    assert safe != text
    assert safe.replace("'", "") == text.replace("'", "")
    for separator in ",;\t":
        for cell in read_as(separator, safe):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))
    assert cells.restore(safe) == text
    assert cells.restore(text) == text  # a file from before


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_stay_as_they_are(text):
    assert cells.neutralize(text) == cells.restore(text) == text


def test_every_text_survives_the_round_trip():
    letters = "'=-;,\t\n \"a"
    for length in range(6):
        for chosen in itertools.product(letters, repeat=length):
            text = "".join(chosen)
            safe = cells.neutralize(text)
            assert cells.restore(safe) == text
            assert safe[:1] not in "=-\t\n" or not text


def test_numbers_stay_numbers():
    row = cells.neutralize_row([0, -1.5, np.int32(-3), np.str_("=a"), "b"])
    text = io.StringIO()
    csv.writer(text).writerow(row)
    assert text.getvalue() == "0,-1.5,-3,'=a,b\r\n"
