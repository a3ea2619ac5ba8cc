"""The folder of kept images: which one, how large, and what goes first."""

import collections
import os
import time

import pytest

from dact_jax import errors
from dact_jax.data.cache import parts, room
from dact_jax.data.cache.room import Cache


def put(folder, name, size, age=0.0):
    path = folder / "form" / f"{name}{parts.SUFFIX}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


@pytest.fixture
def free(monkeypatch):
    def set_free(count):
        usage = collections.namedtuple("usage", "total used free")
        monkeypatch.setattr(room.shutil, "disk_usage", lambda path: usage(0, 0, count))

    set_free(10**12)
    return set_free


def test_the_field_names_a_folder_the_users_or_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert room.cache_of("") == Cache(tmp_path / "dact_jax/images", room.LIMIT)
    assert room.cache_of("none") is None
    assert room.cache_of(str(tmp_path / "a/b")) == Cache(tmp_path / "a/b")
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.InputError, match=r"data\.cache_dir=.*not a folder"):
        room.cache_of(str(tmp_path / "file"))
    with pytest.raises(errors.InputError, match=r"data\.cache_dir=.*Not a directory"):
        room.cache_of(str(tmp_path / "file/below"))


def test_without_a_home_nothing_is_kept(monkeypatch, caplog):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert room.cache_of("") is None
    assert "set XDG_CACHE_HOME to a folder for caches, or data.cache_dir" in caplog.text


def test_the_oldest_go_first_and_only_as_many_as_needed(tmp_path, free):
    day = room.RECENT
    oldest, old = put(tmp_path, "a", 400, 9 * day), put(tmp_path, "b", 400, 5 * day)
    new = put(tmp_path, "c", 100)
    assert room.make(Cache(tmp_path, 1000), 100) == ""
    assert oldest.exists()
    assert room.make(Cache(tmp_path, 1000), 300) == ""
    assert not oldest.exists()
    assert old.exists()
    reason = room.make(Cache(tmp_path, 1000), 950)
    assert "may take 1 kB, of which 0 kB were used within a day" in reason
    assert old.exists()
    assert room.make(Cache(tmp_path, 1000), 900) == ""
    assert not old.exists()
    assert new.exists()
    room.touch(new)
    assert room.make(Cache(tmp_path), 10**6) == ""  # a chosen folder has no limit
    assert new.exists()


def test_drafts_of_killed_processes_are_removed(tmp_path, free):
    draft = put(tmp_path, "a", 10, 9 * room.RECENT)
    draft = draft.rename(f"{draft}.1-ab.tmp")
    new = put(tmp_path, "b", 10)
    new = new.rename(f"{new}.1-ab.tmp")
    assert room.make(Cache(tmp_path, 1000), 1) == ""
    assert not draft.exists()
    assert new.exists()


def test_half_of_the_free_disk_is_left_in_the_users_caches(tmp_path, free):
    cache = Cache(tmp_path, 10**9)
    free(1000)
    assert room.make(cache, 500) == ""
    assert "has 1 kB left" in room.make(cache, 501)
    put(tmp_path, "old", 1000, 9 * room.RECENT)  # which may go
    assert room.make(cache, 900) == ""
    assert "left for" in room.make(Cache(tmp_path), 501)


def test_sizes_are_short():
    found = [room.size(count) for count in (900, 2_400_000, 1_500_000_000, 3 * 10**12)]
    assert found == ["1 kB", "2.4 MB", "1.5 GB", "3 TB"]
