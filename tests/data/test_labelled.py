"""Rows that are given by number or by name: paths decide where both sides have them."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.data.selection import labelled

NAMES = np.array(["b.jpg", "=c,\r d.jpg", "a.jpg", "e\udcff.jpg"])


def _read(given, names=NAMES, num=4):
    return np.flatnonzero(labelled.read(str(given), names, num, "pool.npz")).tolist()


def _file(folder, content, name="given.csv"):
    path = folder / name
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    return path


def test_numbers_may_be_given_as_they_are():
    assert _read("3") == [3]
    assert _read("3, 0,3") == [0, 3]
    with pytest.raises(errors.InputError, match=r"--labelled=17,4: 17 .* 0 \.\. 3"):
        _read("17,4")


@pytest.mark.parametrize(
    "content",
    [
        "order,row,score,path\n0,1,2.5,a.jpg\n1,9,2,b.jpg\n",  # rows of another order
        "path\na.jpg\nb.jpg\n",
        "filename;label\na.jpg;dog\nb.jpg;cat\ne.jpg;\n",  # one is not labelled yet
        "File_Path\tcategory\na.jpg\tx\nb.jpg\ty\ne.jpg\t-1\n",
        "path,class\na.jpg,1\nb.jpg,2\ne.jpg,nan\n",
        "\ufeffa.jpg\r\n\r\nb.jpg\r\n",
        "round,order,side,id,score\n"
        '0,0,"source","s.jpg",1\n0,0,"target","b.jpg",1\n1,0,"target","a.jpg",1\n',
    ],
)
def test_names_decide(tmp_path, content):
    assert _read(_file(tmp_path, content)) == [0, 2]


def test_names_come_back_whatever_is_in_them(tmp_path):
    content = 'row,path\n0,"\'=c,\r d.jpg"\n0,e\udcff.jpg\n'
    assert _read(_file(tmp_path, content)) == [1, 3]
    np.save(tmp_path / "names.npy", NAMES[[1, 3]])
    assert _read(tmp_path / "names.npy") == [1, 3]


def test_names_that_are_numbers_count_if_every_line_is_one(tmp_path):
    names = np.array(["2", "1", "0", "9"])
    assert _read(_file(tmp_path, "2\n9\n"), names) == [0, 3]
    assert _read(_file(tmp_path, "2\n3\n"), names) == [2, 3]


def test_numbers_count_where_the_pool_has_no_names(tmp_path):
    path = _file(tmp_path, "order,row,score,path\n0,3,2.5,a.jpg\n")
    assert _read(path, names=None) == [3]
    assert _read(_file(tmp_path, "3\n 1 \n", "rows.txt")) == [1, 3]


@pytest.mark.parametrize(
    ("content", "names", "parts"),
    [
        ("row,path\n3,z.jpg\n", NAMES, ("line 2", "row 3", "'z.jpg'", "pool.npz")),
        ("row,path\n0,z.jpg\n", NAMES, ("row 0 is 'z.jpg'", "'b.jpg' in pool.npz")),
        ("path\nz.jpg\n", NAMES, ("line 2", "pool.npz", "'z.jpg'")),
        ("path\na.jpg\n", None, ("pool.npz has no names", "by number")),
        ("a.jpg\nz.jpg\n", NAMES, ("line 2", "pool.npz has no row called 'z.jpg'")),
        ("a.jpg\n3\n", NAMES, ("line 2", "pool.npz has no row called '3'")),
        ("y.jpg\nz.jpg\n", NAMES, ("line 1", "'y.jpg'", "name of a row of pool.npz")),
        ("0\n1\n1\n0\n", NAMES, ("0 or 1", "4 rows", "bool")),
        ("row\n4\n", NAMES, ("line 2: 4 ", "0 .. 3")),
        ("9" * 5000, NAMES, ("line 1", "not one row number")),
        ("row,path\n0,a\0\n", NAMES, ("given.csv is not text",)),
        ("path\n" + "a" * 140_000, NAMES, ("given.csv, line 2", "more than 131072")),
        ('path,label\na.jpg,x\n"b.jpg,x\n', NAMES, ("line 3: a quote", "not closed")),
        ("path,label\na.jpg,x\nb.jpg\n", NAMES, ("line 3: there must be 2 cells",)),
        ("path,label\na.jpg,None\n", NAMES, ("line 2: 'None' may be a class",)),
    ],
)
def test_what_cannot_be_matched_is_told(tmp_path, content, names, parts):
    with pytest.raises(errors.InputError) as told:
        _read(_file(tmp_path, content), names)
    assert all(part in str(told.value) for part in parts), told.value
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 600


def test_an_integer_mask_is_told_from_row_numbers(tmp_path):
    np.save(tmp_path / "mask.npy", np.array([0, 1, 1, 0]))
    with pytest.raises(errors.InputError, match=r"mask\.npy has 0 or 1 .* 4 rows"):
        _read(tmp_path / "mask.npy")
    np.save(tmp_path / "mask.npy", np.array([False, True, True, False]))
    assert _read(tmp_path / "mask.npy") == [1, 2]
    np.save(tmp_path / "none.npy", np.array([], str))
    with pytest.raises(errors.InputError, match=r"none\.npy") as told:
        _read(tmp_path / "none.npy")
    assert "<U1" in str(told.value)
