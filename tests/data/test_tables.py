"""Tables in text files: delimiters, quotes and line numbers."""

import pytest

from dact_jax import errors
from dact_jax.data import tables


def read(tmp_path, text):
    (tmp_path / "a.csv").write_bytes(text.encode())
    return tables.read(
        tmp_path / "a.csv", lambda cells: {"p", "l"} <= {*cells}, header="p,l"
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(delimiter, tmp_path):
    rows = (("p", "l"), ("x y", "1"), ('"a\r\nb,;\t"', ""), ("c", "2", "", ""))
    text = "\n\n".join(delimiter.join(cells) for cells in rows)
    table = read(tmp_path, text)
    assert table.columns == ("p", "l")
    assert table.rows == [
        (3, ("x y", "1")),
        (5, ("a\r\nb,;\t", "")),
        (8, ("c", "2")),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("p,l", "a,b", '"c,d'), "line 3: a quote .* not closed"),
        (("p,l", "a,b", '"c,d', "e,f", '"g",h'), "line 3: a quote .* not closed"),
        (("p,l", "a,b", 'c,"d', "e,f"), "line 3: a quote .* not closed"),
        (("p,l", '"a"b,c'), r'line 2: .*twice \(""\)'),
        (("p,l", "", "a,b,c"), "line 3: there must be 2 cells, not 3"),
        (("p,l", "a"), "line 2: there must be 2 cells, not 1"),
        (("p,l", "a," + "x" * 140_000), "line 2: .*more than 131072 char"),
        (("p,l", '"a,b', *["x,y"] * 50_000), "line 2: a quote .* not closed"),
        (("p|l", "a|b"), r"the first line must be p,l, .*'p\|l'"),
        (('"p,l', "a,b"), "the first line must be p,l, .*'\"p,l'"),
    ],
)
def test_a_fault_names_its_own_line(end, lines, message, tmp_path):
    with pytest.raises(errors.InputError, match=rf"a\.csv.*{message}"):
        read(tmp_path, end.join(lines))
