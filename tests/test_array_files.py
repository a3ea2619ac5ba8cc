"""Arrays of damaged and hostile .npy and .npz files: one sentence, and no memory."""

import io
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from dact_jax import array_files, errors

X = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)


def _header(shape, *, descr="'<f4'", order=False):
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    padded = text.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded


def _bytes(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _archive(path, method=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def _sentence(read, *args):
    with pytest.raises(errors.InputError) as caught:
        read(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_saved(tmp_path, save):
    arrays = {
        "features": X,
        "columns": np.asfortranarray(X.astype(">f8")),
        "label": np.array(["é", "", "b" * 40]),
        "bytes": np.array([b"a", b"bc"]),
        "mask": X[0] > 0,
        "number": np.array(3),
        "nothing": np.zeros((0, 3)),
    }
    save(tmp_path / "x.npz", **arrays)
    assert array_files.names(tmp_path / "x.npz") == tuple(arrays)
    for name, found in array_files.read(tmp_path / "x.npz").items():
        np.testing.assert_array_equal(found, arrays[name])
        assert found.dtype == arrays[name].dtype
    assert list(array_files.read(tmp_path / "x.npz", ("label", "no"))) == ["label"]


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_an_array_stays_on_the_disk(tmp_path, version):
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, np.asfortranarray(X), version)
    found = array_files.mapped(tmp_path / "x.npy")
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, X)
    np.save(tmp_path / "x.npy", X[:0])
    assert array_files.mapped(tmp_path / "x.npy").shape == (0, 8)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_header("(99999999999999999999,)"), "99999999999999999999"),
        (_header("(1000000000000,)"), "4000000000000 bytes"),
        (_header("(4, True)") + bytes(16), "True"),
        (_header("(-4,)"), "-4"),
        (_header("(2, -2, -1)") + bytes(16), "-2"),
        (_header("(" + "1," * 70 + ")") + bytes(4), ""),
        (_header("(2,)", descr="'<U0'"), "no bytes"),
        (_header("(2,)", descr="'|V2'") + bytes(4), "bfloat16"),
        (_header("(2,)", descr="[('a', '<f4')]") + bytes(8), "numbers or text"),
        (_header("(2,)", descr="'|O'") + bytes(16), "objects"),
        (_header("(2,)", descr="'<f4', 'descr': 3"), ""),
        (_header("(2,)", descr="'nonsense'"), ""),
        (_header("(2,)", order="1") + bytes(8), ""),
        (_header("(2"), ""),
        (_header("(" * 60), ""),
        (_header("(2,)", descr="'|b1'") + b"\1\2", "0 or 1"),
        (_header("(1,)", descr="'<U1'") + b"\0\0\x22\0", "characters"),
        (_header("(1,)", descr="'>U1'") + b"\0\0\xd8\0", "characters"),
        (_bytes(X)[:-8], "1592"),
        (_bytes(X) + bytes(8), "1600"),
        (b"\x93NUMPY\x01\x00\xff\xff", "65535"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "2147483647"),
        (b"\x93NUMPY\x09\x00", "version"),
        (b"\x93NUM", ""),
        (b"", ""),
        (b"\x80\x04K\x01.", ""),
    ],
)
def test_a_header_that_lies(tmp_path, content, reason):
    (tmp_path / "x.npy").write_bytes(content)
    tracemalloc.start()
    alone = _sentence(array_files.mapped, tmp_path / "x.npy", "--features=x.npy")
    assert "--features=x.npy" in alone
    path = _archive(tmp_path / "x.npz", features=content)
    inside = _sentence(array_files.read, path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f"features of {path}" in inside
    if "bytes" not in reason:
        assert reason in alone
        assert reason in inside
    assert most < 2**22


def test_a_flipped_bit_is_seen_wherever_it_is(tmp_path):
    """A flip in a date, or in a flag that nobody reads, changes no array."""
    np.savez_compressed(tmp_path / "x.npz", features=X)
    raw = (tmp_path / "x.npz").read_bytes()
    bad, told = tmp_path / "bad.npz", 0
    for at in range(0, len(raw), 3):
        bad.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :])
        try:
            arrays = array_files.read(bad)
        except errors.InputError as error:
            told += str(bad) in str(error)
        else:
            for found in arrays.values():
                np.testing.assert_array_equal(found, X)
    assert told > 0.9 * len(raw) / 3


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_what_numpy_does_not_write(tmp_path, method):
    path = _archive(tmp_path / "x.npz", method, features=_bytes(X))
    assert "numpy.savez" in _sentence(array_files.read, path)


def test_members_that_are_no_arrays(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("features", b"12")
    message = _sentence(array_files.names, path)
    assert all(part in message for part in ("x.npz", "'features'", ".npy"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("label.npy", _bytes(X))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("label.npy", _bytes(X + 1))
    assert "'label'" in _sentence(array_files.read, path)
    _archive(path, label=_bytes(X))
    raw = bytearray(path.read_bytes())
    raw[6] |= 1  # both copies of the flag "encrypted"
    raw[raw.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)
    assert "encrypted" in _sentence(array_files.read, path)


def test_a_small_file_takes_little_memory(tmp_path):
    """Half a GiB of zeros takes 2.3 MB."""
    path = tmp_path / "x.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("features.npy", "w", force_zip64=True) as member,
    ):
        member.write(_header(f"({2**16}, {2**11})"))
        for _ in range(2**7):
            member.write(bytes(2**22))
    tracemalloc.start()
    assert f"{2**29} bytes" in _sentence(array_files.read, path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_many_arrays_together_take_little_memory(tmp_path):
    zeros = _bytes(np.zeros(2**22))  # 32 MiB each
    path = _archive(tmp_path / "x.npz", a=zeros, b=zeros, c=zeros)
    assert list(array_files.read(path, ("a",))) == ["a"]
    assert "c of " in _sentence(array_files.read, path)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.npz").mkdir()
    assert "pipe.npy" in _sentence(array_files.mapped, tmp_path / "pipe.npy")
    assert "folder.npz" in _sentence(array_files.names, tmp_path / "folder.npz")
    assert "no.npz" in _sentence(array_files.read, tmp_path / "no.npz")
