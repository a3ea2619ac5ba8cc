"""What was left out: as lines, as an error, and as left_out.csv."""

import pathlib

import pytest

from dact_jax import errors
from dact_jax.data import left_out
from dact_jax.types import LeftOut

ODD = ["=1+1.txt", "a,b\r\n.txt", "caf\udce9/1.heic", '"quoted".txt']


def many(count, *, damaged=False):
    return [LeftOut(f"b/{i:02}.jpg", "it is empty", damaged) for i in range(count)]


def test_round_trip(tmp_path):
    files = [LeftOut(name, "it is no image") for name in ODD]
    left_out.write(tmp_path, {"source": files, "target": many(2)})
    rows = left_out.read(tmp_path)
    assert [row.path for row in rows] == [*ODD, "b/00.jpg", "b/01.jpg"]
    assert [row.side for row in rows] == ["source"] * 4 + ["target"] * 2
    assert rows[0].reason == "it is no image"
    assert b'"=1+1' not in (tmp_path / left_out.FILE).read_bytes()
    left_out.write(tmp_path, {"source": [], "target": []})
    assert not (tmp_path / left_out.FILE).exists()
    assert left_out.read(tmp_path) == []


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / left_out.FILE).write_text("side,path,reason\nsource,x\n")
    with pytest.raises(errors.InputError, match=r"left_out\.csv, row 1"):
        left_out.read(tmp_path)


def test_lines_name_twenty_files_at_most():
    assert left_out.lines("b", []) == []
    files = [LeftOut("b/z\n.png", "it is cut", damaged=True), *many(30)]
    head, first, *others = left_out.lines("b", files)
    assert "31 files or folders" in head
    assert left_out.FILE in head
    assert first == r"  b/z\n.png: it is cut"
    assert len(others) == 20
    assert others[-1] == "  and 11 more"


def test_the_error_names_twenty_files_and_the_number_of_the_others():
    root = pathlib.Path("/data")
    single = left_out.refusal(root, many(1, damaged=True))
    assert "\n" not in single
    assert single.startswith("/data/b/00.jpg cannot be read: it is empty")
    assert "data.on_error='skip'" in single
    head, *listed = left_out.refusal(root, many(34, damaged=True)).split("\n")
    assert "34 files" in head
    assert "data.on_error='skip'" in head
    assert listed[0].strip() == "/data/b/00.jpg: it is empty"
    assert [line.strip() for line in listed[19:]] == [
        "/data/b/19.jpg: it is empty",
        "and 14 more",
    ]
