import csv
import errno
import itertools
import multiprocessing
import os
import resource

import pytest

from dact_jax import errors
from dact_jax.rounds import answers
from dact_jax.rounds.answers import Answer
from tests.crash import faults

GIVEN = [
    Answer("a/1.png", "cat", False, "2026-01-31T12:00:00Z", "page", "dog", 2.25),
    Answer("=a\n\r'\udcff.png", "", True, "2026-01-31T12:00:01Z", "python"),
    Answer("a/1.png", 'd"og, x', False, "2026-01-31T12:00:02Z", "f.csv", "dog"),
]


def test_answers_are_read_as_they_were_given(tmp_path):
    assert answers.read(tmp_path) == []
    answers.append(tmp_path, GIVEN[:1])
    answers.append(tmp_path, GIVEN[1:])
    assert answers.read(tmp_path) == GIVEN
    assert answers.latest(GIVEN)["a/1.png"] == GIVEN[2]


def test_a_spreadsheet_runs_no_cell(tmp_path):
    answers.append(tmp_path, GIVEN)
    with (tmp_path / answers.FILE).open(newline="", errors="surrogateescape") as file:
        assert list(csv.reader(file))[2][0].startswith("'=")


@pytest.mark.parametrize("torn", [1, 5, 30, 50])
def test_a_torn_last_line_is_dropped_and_the_next_answer_follows(tmp_path, torn):
    answers.append(tmp_path, GIVEN)
    path = tmp_path / answers.FILE
    whole = path.read_bytes()
    answers.append(tmp_path, GIVEN[1:2])
    path.write_bytes(path.read_bytes()[:-torn])
    assert answers.read(tmp_path) == GIVEN
    answers.append(tmp_path, GIVEN[:1])
    assert answers.read(tmp_path) == [*GIVEN, GIVEN[0]]
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize("size", range(1, 45))
def test_a_torn_header_counts_as_none(tmp_path, size):
    answers.append(tmp_path, [])
    path = tmp_path / answers.FILE
    path.write_bytes(path.read_bytes()[:size])
    answers.append(tmp_path, GIVEN)
    assert answers.read(tmp_path) == GIVEN


@pytest.mark.parametrize(
    "line", ["a,b\n", "a,,0,,,,\n", "a,cat,1,,,,\n", "a,cat,x,,,,\n", "a,cat,0,,,,x\n"]
)
def test_a_line_that_is_no_answer_is_refused(tmp_path, line):
    answers.append(tmp_path, GIVEN[:1])
    path = tmp_path / answers.FILE
    path.write_text(path.read_text() + line + "b,cat,0,,,,\n")
    with pytest.raises(errors.InputError, match=r"labels\.csv, answer 2 is not"):
        answers.read(tmp_path)


def _append_many(folder, name):
    for count in range(20):
        answers.append(folder, [GIVEN[0]._replace(id=f"{name}/{count}")])


def test_two_processes_append_without_loss(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_append_many, args=(tmp_path, n)) for n in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = [answer.id for answer in answers.read(tmp_path)]
    assert sorted(found) == sorted(f"{n}/{i}" for n in "ab" for i in range(20))


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, caplog):
    def refuse(file, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(answers.fcntl, "flock", refuse)
    answers.append(tmp_path, GIVEN)
    assert answers.read(tmp_path) == GIVEN
    assert "labels.csv has no lock" in caplog.text


def _attempts(folder, kind):
    """Appends two answers, failing one operation further on each time."""
    for at in itertools.count(1):
        before = answers.read(folder)
        with faults.layer(str(folder), faults.Fault(kind, at)) as record:
            try:
                answers.append(folder, GIVEN[1:])
            except (OSError, faults.Killed) as error:
                yield record.failed, error, before
        if record.failed is None:
            return


@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
def test_answers_that_cannot_be_written_leave_the_file_as_it_was(tmp_path, begun):
    if begun:
        answers.append(tmp_path, GIVEN[:1])
    failed = []
    for operation, error, before in _attempts(tmp_path, "EIO"):
        failed.append(operation)
        told = errors.sentence(error)
        assert told == f"{tmp_path / answers.FILE}: Input/output error."
        assert answers.read(tmp_path) == before
    names = ["open", "os.truncate", "write", "fsync"]
    flushed = [] if begun else ["fsync "]  # the folder of a new file
    assert failed == [f"{name} {answers.FILE}" for name in names] + flushed
    assert answers.read(tmp_path) == [*GIVEN[:1][:begun], *GIVEN[1:]]


def test_a_process_killed_while_it_appends_leaves_nothing_that_stays_torn(tmp_path):
    answers.append(tmp_path, GIVEN[:1])
    for _, _, before in _attempts(tmp_path, "kill"):
        assert answers.read(tmp_path)[: len(before)] == before
    found = answers.read(tmp_path)
    assert found[-2:] == GIVEN[1:]
    assert set(found) == set(GIVEN)


def test_what_a_full_disk_took_of_a_line_is_taken_back(tmp_path):
    answers.append(tmp_path, GIVEN[:1])
    path = tmp_path / answers.FILE
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 90, hard))
    try:  # the first line of the two has room, and some of the second
        with pytest.raises(OSError, match=r"labels\.csv"):
            answers.append(tmp_path, GIVEN[1:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole
    answers.append(tmp_path, GIVEN[1:])
    assert answers.read(tmp_path) == GIVEN


def test_a_part_is_written_at_a_time(tmp_path, monkeypatch):
    write = faults._File.write
    monkeypatch.setattr(faults._File, "write", lambda self, rest: write(self, rest[:7]))
    with faults.layer(str(tmp_path)) as record:
        answers.append(tmp_path, GIVEN)
    assert answers.read(tmp_path) == GIVEN
    size = os.path.getsize(tmp_path / answers.FILE)
    assert sum(name.startswith("write") for name in record.done) == -(-size // 7)
