"""One process in a folder at a time, and who is told what."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from dact_jax import errors, runner
from dact_jax.rounds import lock
from tests import toy

# Locks a file as another program, says so, and sleeps. It needs no dact_jax.
_HOLDER = """
import fcntl, json, os, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
json.dump({"process": os.getpid(), "host": "far", "since": "noon"}, file)
file.flush()
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path / "run"."""
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / lock.FILE
    command = [sys.executable, "-c", _HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def _enter(folder, **options):
    with lock.hold(folder, **options):
        pass


def test_the_second_process_is_told_folder_process_and_host(tmp_path, holder):
    folder = tmp_path / "run"
    with pytest.raises(errors.InputError) as caught:
        _enter(folder, flag="--here")
    assert str(caught.value) == (
        f"{folder} is in use by process {holder.pid} on far since noon: wait until it "
        "ends, or give another --here."
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_dies_with_its_process(tmp_path, holder, number):
    holder.send_signal(number)
    holder.wait()
    assert (tmp_path / "run" / lock.FILE).exists()  # a file alone locks nothing
    _enter(tmp_path / "run")


def test_one_process_may_not_enter_twice_either(tmp_path):
    mine = rf"in use by process {os.getpid()} on {socket.gethostname()} since \d{{4}}-"
    with lock.hold(tmp_path):
        for _ in range(2):  # reading who it is has not given it up
            with pytest.raises(errors.InputError, match=mine):
                _enter(tmp_path)
    _enter(tmp_path)


def test_an_error_inside_ends_the_lock(tmp_path):
    with pytest.raises(KeyError), lock.hold(tmp_path):
        raise KeyError
    _enter(tmp_path)


def test_a_link_to_the_folder_is_the_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    with lock.hold(tmp_path / "run"), pytest.raises(errors.InputError, match="in use"):
        _enter(tmp_path / "link")


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"{}", b"\xff"])
def test_a_holder_that_does_not_say_who_it_is_refuses_too(tmp_path, text):
    with lock.hold(tmp_path):
        (tmp_path / lock.FILE).write_bytes(text)
        with pytest.raises(errors.InputError, match="in use by another process: wait"):
            _enter(tmp_path)


def test_nothing_is_left_behind(tmp_path):
    _enter(tmp_path / "runs" / "new")
    assert list((tmp_path / "runs").iterdir()) == []
    (tmp_path / "mine").mkdir()
    _enter(tmp_path / "mine")  # was there before
    with lock.hold(tmp_path / "used"):
        (tmp_path / "used" / "file").write_text("")
    found = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    assert sorted(found) == ["mine", "runs", "used", "used/file"]


def test_who_waits_says_so_and_enters_when_the_other_is_gone(
    tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(lock, "_PATIENCE", 0)
    monkeypatch.setattr(lock, "_PAUSE", 0.02)
    entered = threading.Event()

    def wait():
        with lock.hold(tmp_path, wait=True):
            entered.set()

    waiting = threading.Thread(target=wait)
    with lock.hold(tmp_path):
        waiting.start()
        deadline = time.monotonic() + 20
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not entered.is_set()
    waiting.join(20)
    assert entered.is_set()
    (told,) = caplog.messages  # once
    assert told.startswith(f"{tmp_path} is in use by process {os.getpid()} on ")
    assert told.endswith(": this run waits until it ends.")


def test_many_at_once_enter_one_after_another(tmp_path, monkeypatch):
    """Each removes the file that the next one has opened already."""
    monkeypatch.setattr(lock, "_PAUSE", 0.001)
    inside, seen = [], []

    def enter(number):
        for _ in range(20):
            with lock.hold(tmp_path / "run", wait=True):
                inside.append(number)
                seen.append(list(inside))
                time.sleep(0.0005)
                inside.remove(number)

    threads = [threading.Thread(target=enter, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(seen) == 80
    assert all(len(some) == 1 for some in seen)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_files_cannot_be_locked_a_warning_says_so(
    tmp_path, monkeypatch, caplog, number
):
    def fail(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", fail)
    _enter(tmp_path)
    assert caplog.messages == [
        f"{tmp_path} has no lock, because its file system has none: start no second "
        "process with this folder."
    ]


def test_without_fcntl_a_warning_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lock, "fcntl", None)
    _enter(tmp_path)
    (told,) = caplog.messages
    assert "has no lock, because this operating system has none" in told


def test_another_error_is_told_with_the_file(tmp_path, monkeypatch):
    def fail(file, how):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(lock.fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        _enter(tmp_path)
    assert errors.sentence(caught.value).startswith(str(tmp_path / lock.FILE))


def test_a_folder_that_may_only_be_read_needs_no_lock(tmp_path, monkeypatch):
    def fail(path, flags, mode=0o777):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(lock.os, "open", fail)  # the superuser may write anywhere
    with pytest.raises(PermissionError):
        _enter(tmp_path)  # may be written to, but the lock may not
    monkeypatch.setattr(lock.os, "access", lambda path, mode: False)
    _enter(tmp_path)


def test_a_run_is_refused_before_it_reads_data(tmp_path):
    config = toy.vector_config(tmp_path, "source_only")
    config.source = str(tmp_path / "nowhere.npz")
    folder = tmp_path / "run"
    with lock.hold(folder):
        with pytest.raises(errors.InputError, match=r"in use by.*another --workdir"):
            runner.run(config, folder)
        holder = json.loads((folder / lock.FILE).read_text())
        assert holder["process"] == os.getpid()  # untouched by who was refused
    with pytest.raises(errors.InputError, match="nowhere"):
        runner.run(config, folder)
    assert not folder.exists()


def test_a_run_and_its_pretraining_may_not_share_a_folder(tmp_path):
    config = toy.vector_config(tmp_path, "s_act")
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    config.pretrain.steps, config.pretrain.folder = 2, str(tmp_path / "link")
    with pytest.raises(errors.InputError, match=r"pretrain\.folder=.* of the run itse"):
        runner.run(config, tmp_path / "run")
