"""Encodings of text files, accepted and refused."""

import os

import pytest

from dact_jax import errors
from dact_jax.data import text_files

TEXT = "straße/Ärger.png,Café\r\nb.png,x\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"]
)
def test_encodings(encoding, tmp_path, caplog):
    (tmp_path / "a.csv").write_bytes(TEXT.encode(encoding))
    assert text_files.read(tmp_path / "a.csv") == TEXT
    assert ("a.csv is not UTF-8" in caplog.text) == (encoding == "cp1252")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("x\nдом,кот\n".encode("cp1251"), r"a\.csv, line 2: .*not UTF-8.*as UTF-8"),
        ("x\n\nпривет".encode("koi8-r"), r"a\.csv, line 3: .*save the file as UTF-8"),
        ("x\né\n".encode() + b"\xe9", r"a\.csv, line 3: .*neither UTF-8 nor"),
        (b"x\r\xe9\x81", r"a\.csv, line 2: .*neither UTF-8 nor"),
        ("a,b\nc".encode("utf-16-le"), r"a\.csv, line 1: .*NUL .*as UTF-8"),
        (b"a\r\nb\r\nc\0d", r"a\.csv, line 3: .*NUL"),
        (b"\xff\xfe\x00", r"a\.csv begins as UTF-16 .*byte 2 .*as UTF-8"),
        (b"\xef\xbb\xbfa\xff", r"a\.csv begins as UTF-8 text, .*byte 1 .*"),
    ],
)
def test_text_of_no_known_encoding(raw, message, tmp_path):
    (tmp_path / "a.csv").write_bytes(raw)
    with pytest.raises(errors.InputError, match=message) as caught:
        text_files.read(tmp_path / "a.csv")
    assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for name, message in (("none", "there is no file .*none"), ("pipe", "not a file")):
        with pytest.raises(errors.InputError, match=message):
            text_files.read(tmp_path / f"{name}.csv")


def test_lines():
    assert text_files.lines("a\r\nb\rc\n\nd\x0b\u2028e") == [
        "a",
        "b",
        "c",
        "",
        "d\x0b\u2028e",
    ]
