"""Folders of links by class: names that every system takes, and no file replaced."""

import errno
import os
import pathlib

import pytest
from hypothesis import example, given, settings, strategies as st

from dact_jax import errors
from dact_jax.prediction import sorting
from dact_jax.types import UNLABELED


@pytest.fixture
def images(tmp_path):
    """Four files in two folders, two of one name."""
    paths = []
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/\udcff.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.fsencode(name))
        paths.append(str(path))
    return paths


def _found(folder):
    """Path below the folder -> what it leads to."""
    return {
        str(path.relative_to(folder)): os.fsdecode(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


SORTED = {
    "cat/1.png": "a/1.png",
    "_unsure/2.png": "a/2.png",
    "cat/1 (2).png": "b/1.png",
    "a%2Fb/\udcff.png": "b/\udcff.png",
}
LABELS = (1, UNLABELED, 1, 0)


def test_links_by_class(images, tmp_path):
    folder = tmp_path / "sorted"
    done = []
    pairs = zip(images, LABELS, strict=True)
    found = sorting.sort(folder, ("a/b", "cat"), pairs, lambda: done.append(1))
    assert _found(folder) == SORTED
    assert all(path.is_symlink() for path in folder.glob("*/*"))
    assert found == sorting.Sorted(4, 0, 1, {"a/b": "a%2Fb"})
    assert len(done) == 4
    with pytest.raises(errors.InputError, match="is not empty: name a new folder"):
        sorting.check(folder)


def test_copies_where_links_cannot_be(images, tmp_path, monkeypatch):
    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted", str(self))

    monkeypatch.setattr(pathlib.Path, "symlink_to", refuse)
    folder = tmp_path / "sorted"
    found = sorting.sort(folder, ("a/b", "cat"), zip(images, LABELS, strict=True))
    assert found[:3] == (0, 4, 1)
    assert _found(folder) == SORTED
    assert not any(path.is_symlink() for path in folder.glob("*/*"))


def test_what_is_there_stays(images, tmp_path):
    folder = tmp_path / "sorted"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat" / "1.png").write_text("mine")
    (folder / "cat" / "1 (2).png").symlink_to("nowhere")
    sorting.sort(folder, ("cat",), [(images[0], 0)])
    assert (folder / "cat" / "1.png").read_text() == "mine"
    assert (folder / "cat" / "1 (3).png").read_text() == "a/1.png"


def test_a_long_name_with_a_number_still_fits(images, tmp_path):
    long = tmp_path / "a" / ("\u00e4" * 120 + ".jpeg")
    long.write_bytes(b"long")
    sorting.sort(tmp_path / "sorted", ("cat",), [(str(long), 0)] * 2)
    names = sorted(path.name for path in (tmp_path / "sorted" / "cat").iterdir())
    assert len(names) == 2
    assert all(name.endswith(".jpeg") and len(name.encode()) < 256 for name in names)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("dog", "dog"),
        ("a/b", "a%2Fb"),
        ("100%", "100%25"),
        ("..", "%2E%2E"),
        (".x", "%2Ex"),
        ("con", "%con"),
        ("_unsure", "_unsure%2"),
        ("_Unsure", "_Unsure%2"),
        ("", "%"),
        ("a\nb", "a%0Ab"),
        ("gut ", "gut%20"),
    ],
)
def test_a_name_as_a_folder(name, folder):
    assert sorting.folder_names([name]) == [folder]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=8), unique=True, max_size=8))
@example(["a", "A", "a%2", "%", "", ".", "..", "...", " ", "x" * 300, "x" * 299])
def test_names_of_folders_are_different_and_plain(class_names):
    names = sorting.folder_names(class_names)
    assert len({name.casefold() for name in names}) == len(class_names)
    for name in names:
        assert 0 < len(name.encode("utf-8", "surrogatepass")) < 256
        assert not {*name} & {*'<>:"/\\|?*\0\n'}
        assert name not in (".", "..")
        assert name.casefold() != sorting.UNSURE


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(errors.InputError, match="is not a folder"):
        sorting.check(tmp_path / "x")


def test_a_copy_that_fails_leaves_nothing(images, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pathlib.Path, "symlink_to", refuse)
    monkeypatch.setattr(sorting.shutil, "copyfileobj", refuse)
    with pytest.raises(OSError, match="No space left") as caught:
        sorting.sort(tmp_path / "out", ["cat"], [(images[0], 0)])
    assert caught.value.filename.endswith("1.png")
    assert not list((tmp_path / "out").glob("*/*"))
