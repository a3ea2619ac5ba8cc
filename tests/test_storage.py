"""Files whole or not at all, and errors that name them."""

import errno
import gc
import io
import logging
import os
import pathlib
import warnings

import pytest

from dact_jax import cli, errors, storage
from dact_jax.rounds.formats import trees


def _refusing(number):
    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_refused_write_names_the_file_and_leaves_the_old_one(
    tmp_path, monkeypatch, number
):
    path = tmp_path / "picks.csv"
    storage.write_atomic(path, "old")
    monkeypatch.setattr(os, "fsync", _refusing(number))
    for write in (storage.write_atomic, storage.append_text):
        with pytest.raises(OSError, match=r"picks\.csv") as caught:
            write(path, "new")
        told = errors.sentence(caught.value)
        assert told == f"{path}: {os.strerror(number)}."
    assert storage.read_text(path).startswith("old")
    assert [file.name for file in tmp_path.iterdir()] == ["picks.csv"]


def test_a_draft_that_cannot_be_removed_does_not_hide_the_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", _refusing(errno.ENOSPC))
    monkeypatch.setattr(os, "unlink", _refusing(errno.EROFS))
    with pytest.raises(OSError, match="No space left"):
        storage.write_atomic(tmp_path / "x", "new")


def test_a_full_disk_is_seen_in_the_words_of_a_library(tmp_path):
    text = "RESOURCE_EXHAUSTED: Failed to write: no space [os_error_code='28']"

    def wrapped():
        try:
            raise ValueError(text)
        except ValueError as error:
            raise RuntimeError("save failed") from error

    with (
        pytest.raises(OSError, match="No space left") as caught,
        storage.naming(tmp_path / "7"),
    ):
        wrapped()
    assert caught.value.filename == str(tmp_path / "7")


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(ValueError, match="shape"), storage.naming(tmp_path):
        raise ValueError("wrong shape")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device", "a"), "a: No space left on device."),
        (OSError(5, "Input/output error"), "output could not be written, or a file "),
        (OSError(5, "Input/output error", b"\xff"), r"\xff: Input/output error."),
        (OSError("no number"), None),
        (MemoryError(), "there is not enough memory."),
        (MemoryError("Unable to allocate 2 TiB\nmore"), "(Unable to allocate 2 TiB)."),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), "there is not enough mem"),
        (
            RuntimeError(
                "INTERNAL: Error dispatching: Out of memory allocating 9 bytes."
            ),
            "there is not enough memory (Out of memory allocating 9 bytes).",
        ),
        (RuntimeError("INTERNAL: a fault"), None),
        (ValueError("a fault"), None),
    ],
)
def test_what_a_user_can_mend_is_a_sentence(error, told):
    found = errors.sentence(error)
    assert (found is None) if told is None else (told in found)


def test_the_end_of_a_command_is_one_sentence_with_what_to_do(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.exit_with(MemoryError("Unable to allocate 2 TiB"), then="lower x")
    assert capsys.readouterr().err == (
        "dact_jax: there is not enough memory (Unable to allocate 2 TiB); lower x.\n"
    )


def test_a_fault_is_not_made_a_sentence():
    with pytest.raises(KeyError):
        cli.exit_with(KeyError("x"))


def test_a_full_stderr_does_not_end_in_a_traceback(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stderr", Full())
    with pytest.raises(SystemExit, match="2"):
        cli.exit_with(errors.InputError("wrong."))


def test_two_writers_of_one_file_have_drafts_of_their_own(tmp_path):
    path = tmp_path / "picks[1].csv"
    first, second = (storage.atomic(path, shared=True) for _ in range(2))
    with first as one:
        one.write_text("first")
        with second as other:
            other.write_text("second")
        assert path.read_text() == "second"
        assert one.read_text() == "first"
    assert path.read_text() == "first"  # whole, and the last one's
    assert list(tmp_path.iterdir()) == [path]


def test_a_forgotten_draft_is_removed_by_the_next_writer(tmp_path):
    forgotten, other = (
        tmp_path / f"{name}.7-12ab.tmp" for name in ("picks.csv", "x.csv")
    )
    recent = tmp_path / "picks.csv.8-34cd.tmp"
    for draft in (forgotten, recent, other):
        draft.write_text("half")
    for draft in (forgotten, other):
        os.utime(draft, (0, 0))
    storage.write_atomic(tmp_path / "picks.csv", "new", shared=True)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"picks.csv", recent.name, other.name}


def test_drafts_of_a_run_are_removed_and_nothing_else(tmp_path):
    kept = ["report.md", "mine.tmp", "notes.txt.tmp"]
    for name in [*kept, "report.md.tmp", "source_curve.png.tmp", "config.yaml.tmp"]:
        (tmp_path / name).write_text("")
    (tmp_path / "folder.png.tmp").mkdir()
    storage.remove_drafts(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*kept, "folder.png.tmp"}


def test_a_task_that_is_freed_after_a_full_disk_was_told_says_nothing(caplog):
    logger = logging.getLogger("asyncio")
    told = ValueError("RESOURCE_EXHAUSTED: [os_error_code='28']"), ValueError("a fault")
    with pytest.raises(ValueError, match="stopped"), trees._one_error():
        raise ValueError("stopped")
    try:
        for error in told:
            logger.error("Task exception was never retrieved", exc_info=error)
        (record,) = caplog.records
        assert record.exc_info[1] is told[1]
    finally:
        logger.removeFilter(trees._is_news)


def test_a_write_that_a_failed_save_gave_up_says_nothing():
    async def write_fragment():
        pass

    def abandon(*, then):
        cycle = [write_fragment()]
        cycle.append(cycle)  # so that only a collection frees it
        del cycle
        then()

    def fail():
        raise OSError("full")

    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with pytest.raises(OSError, match="full"), trees._one_error():
                abandon(then=fail)
        assert told == []
        with pytest.warns(RuntimeWarning, match="never awaited"):  # others are told
            abandon(then=gc.collect)
    finally:
        logging.getLogger("asyncio").removeFilter(trees._is_news)


def test_caches_never_lie_in_the_folder_that_a_command_starts_in(monkeypatch):
    home = {"XDG_CACHE_HOME": "/caches", "HOME": "/home/a"}
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    assert storage.user_cache() == pathlib.Path("/caches/dact_jax")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert storage.user_cache() == pathlib.Path("/home/a/.cache/dact_jax")
    # As for a user whom the system does not know, who has no HOME either.
    monkeypatch.setattr(storage.os.path, "expanduser", lambda path: path)
    with pytest.raises(FileNotFoundError, match="set XDG_CACHE_HOME"):
        storage.user_cache()
