"""Files that came back: what is new in them, what is refused, and what is kept."""

import types

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.queries import query, writing
from dact_jax.queries.query import Item, Query
from dact_jax.rounds import answers
from dact_jax.rounds.asking import given, intake
from dact_jax.run_types import Person
from dact_jax.types import SKIPPED, UNLABELED

IDS = ("t/a.png", "t/b.png", "t/c.png", "t/d.png")
CLASSES = ("cat", "dog")
CAMPAIGN = "0a1b2c3d"


@pytest.fixture
def run():
    """As much of a run as answers need."""
    names = tuple(id.removeprefix("t/") for id in IDS)
    target = types.SimpleNamespace(id=np.array(IDS), name="t")
    task = types.SimpleNamespace(target=target, class_names=CLASSES)
    person = Person(CAMPAIGN, names, ("",) * len(IDS), "", 0)
    return types.SimpleNamespace(task=task, person=person)


@pytest.fixture
def place(tmp_path):
    """The folder of a query for the first three images."""
    items = tuple(Item(id, id[2:], "", "dog", 0.5, 1.5, "") for id in IDS[:3])
    place = query.place(tmp_path, 0)
    writing.write(place, Query(CAMPAIGN, 0, CLASSES, items))
    return place


def fill(place, labels, name="labels.csv"):
    lines = [f"{id[2:]},{label}" for id, label in zip(IDS, labels, strict=False)]
    (place / name).write_text("\n".join(["file_name,label", *lines]) + "\n")


def latest(folder):
    return {id: one.label for id, one in answers.latest(answers.read(folder)).items()}


def test_a_file_is_read_once_and_again_when_it_changes(run, place, tmp_path):
    assert intake.take_in(run, tmp_path, []) == []
    fill(place, ["cat", "", "dog"])
    said = intake.take_in(run, tmp_path, [])
    assert said == ["2 new answers were read from queries/round_00/labels.csv."]
    first = answers.read(tmp_path)[0]
    assert (first.suggested, first.origin) == ("dog", "queries/round_00/labels.csv")
    assert intake.take_in(run, tmp_path, []) == []
    fill(place, ["dog", "", "dog"])
    said = intake.take_in(run, tmp_path, [])
    assert said == ["1 new answer was read from queries/round_00/labels.csv."]
    assert [one.label for one in answers.read(tmp_path)] == ["cat", "dog", "dog"]


def test_a_file_that_lies_there_does_not_undo_a_later_correction(run, place, tmp_path):
    fill(place, ["cat", "cat", "cat"])
    intake.take_in(run, tmp_path, [])
    page = answers.Answer(IDS[0], "dog", False, answers.now(), answers.PAGE)
    answers.append(tmp_path, [page])
    other = tmp_path / "more.csv"
    fill(tmp_path, ["dog", "dog"], other.name)
    intake.take_in(run, tmp_path, [other])
    assert latest(tmp_path) == {IDS[0]: "dog", IDS[1]: "dog", IDS[2]: "cat"}
    assert answers.read(tmp_path)[-1].origin == "more.csv"
    intake.take_in(run, tmp_path, [])
    assert latest(tmp_path)[IDS[0]] == "dog"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["cat", "doog"], r"labels\.csv, line 3: there is no class 'doog'; .*'dog'"),
        (["cat", "dog", "dog", "dog", "dog"], "no image 'no.png'"),
    ],
)
def test_a_wrong_file_adds_nothing(run, place, tmp_path, labels, message):
    lines = zip(("a.png", "b.png", "c.png", "d.png", "no.png"), labels, strict=False)
    rows = [f"{name},{label}" for name, label in lines]
    (place / "labels.csv").write_text("\n".join(["file_name,label", *rows]) + "\n")
    with pytest.raises(errors.InputError, match=message):
        intake.take_in(run, tmp_path, [])
    assert answers.read(tmp_path) == []


def test_two_new_files_that_differ_add_nothing(run, place, tmp_path):
    fill(place, ["cat"])
    fill(tmp_path, ["dog"], "more.csv")
    with pytest.raises(errors.InputError, match=r"more\.csv, line 2.*labels\.csv"):
        intake.take_in(run, tmp_path, [tmp_path / "more.csv"])
    assert answers.read(tmp_path) == []
    with pytest.raises(errors.InputError, match=r"there is no file .*gone\.csv"):
        intake.take_in(run, tmp_path, [tmp_path / "gone.csv"])
    run.person = None
    with pytest.raises(errors.InputError, match="set oracle='human'"):
        intake.take_in(run, tmp_path, [tmp_path / "more.csv"])


def say(folder, id, label="", *, skip=False):
    answers.append(folder, [answers.Answer(id, label, skip, "", answers.PYTHON)])


def test_answers_become_labels_and_corrections(run, tmp_path):
    say(tmp_path, IDS[0], "cat")
    say(tmp_path, IDS[1], skip=True)
    say(tmp_path, IDS[2], "dog")
    found = given.read(run, tmp_path)
    assert found.tolist() == [0, SKIPPED, 1, UNLABELED]
    used = np.array([1, 0, UNLABELED, 1], np.int32)  # nobody has asked for the third
    assert given.corrected(used, found).tolist() == [True, True, False, False]
    assert given.correct(used, found).tolist() == [0, SKIPPED, UNLABELED, 1]
    # An image that was skipped by mistake goes back to the pool.
    used = np.array([0, 0, SKIPPED, 1], np.int32)
    assert given.correct(used, found).tolist() == [0, SKIPPED, UNLABELED, 1]


@pytest.mark.parametrize(
    ("id", "label", "message"),
    [
        ("t/aa.png", "cat", r"labels\.csv: image 't/aa\.png' .*not .*pool.*t/a\.png"),
        (IDS[0], "cta", r"labels\.csv: image 't/a\.png' .*'cta', .*no class; .*'cat'"),
    ],
)
def test_labels_of_another_run_are_refused(run, tmp_path, id, label, message):
    say(tmp_path, id, label)
    with pytest.raises(errors.InputError, match=message):
        given.read(run, tmp_path)
