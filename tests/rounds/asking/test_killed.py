"""A person in the fake laboratory: killed at every step, it is the same run."""

import csv
import types

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.policies import dual
from dact_jax.queries import query, writing
from dact_jax.rounds import answers, loop
from dact_jax.rounds.asking import intake, person
from dact_jax.run_types import Person
from dact_jax.types import SKIPPED, UNLABELED, Evidence, Lab, Pools
from tests import toy
from tests.rounds import test_loop

CLASSES = ("a", "b", "c")
IDS = [f"t/{row}.png" for row in range(40)]
NEVER = range(0, 40, 7)  # rows that the person skips


def sweep(variables, domain):
    evidence = test_loop._sweep(variables, domain)
    logits = np.repeat(np.float32([[0, 1, 3]]), 40, axis=0)
    return Evidence(evidence.embedding, {"classifier": logits}, None)


class World(test_loop.World):
    """The disk of `test_loop`, with a run's folder in which a person answers."""

    accept_partial = False

    def __init__(self, folder, monkeypatch, die_at=None):
        super().__init__(die_at)
        self.folder = folder
        names = tuple(id.removeprefix("t/") for id in IDS)
        target = types.SimpleNamespace(
            id=np.array(IDS),
            name="t",
            train=types.SimpleNamespace(label=np.full(40, UNLABELED, np.int32)),
        )
        self.run = types.SimpleNamespace(
            task=types.SimpleNamespace(target=target, class_names=CLASSES),
            person=Person("0a1b2c3d", names, ("",) * 40, "", 0),
        )
        self.asked = []
        for module, name in ((writing, "write"), (answers, "append")):
            self.kill_around(monkeypatch, module, name)

    def kill_around(self, monkeypatch, module, name):
        do = getattr(module, name)

        def call(*args, **options):
            self.call()
            do(*args, **options)
            self.call()

        monkeypatch.setattr(module, name, call)

    def lab(self, label):
        return Lab(sweep, label != SKIPPED, skipped=label == SKIPPED)

    def record_picks(self, number, picked, label):
        self.rows.append((number, -1, picked["target"].row.tolist()))
        self.call()

    def answer(self, asked):
        """Fills in labels.csv of the query, as a spreadsheet would."""
        path = query.place(self.folder, asked.round) / "labels.csv"
        with path.open(newline="") as file:
            table = csv.DictReader(file)
            rows, names = list(table), table.fieldnames
        for row in rows:
            number = int(row["file_name"].removesuffix(".png"))
            known = CLASSES[test_loop.TRUTH[number]]
            row |= {"skip": "1"} if number in NEVER else {"label": known}
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, names)
            table.writeheader()
            table.writerows(rows)

    def live(self, key, policy=None):
        """Processes, one after the other, until the run is finished."""
        while True:
            self.rewind()
            try:
                intake.take_in(self.run, self.folder, [])
                self.oracle = person.from_person(
                    self.run, self.folder, accept_partial=self.accept_partial
                )
                return test_loop._go(self, policy or test_loop._policy(), key)
            except errors.AwaitingLabels as awaiting:
                self.asked.append((awaiting.query, awaiting.missing))
                self.answer(awaiting.query)
            except toy.Killed:
                self.die_at = None


def test_killed_at_any_step_it_is_the_same_run(key, tmp_path, monkeypatch):
    whole = World(tmp_path / "whole", monkeypatch)
    whole.folder.mkdir()
    done = whole.live(key)
    assert [len(asked.items) for asked, _ in whole.asked] == [4, 3, 3]
    given = {one.id: one.label for one in answers.read(whole.folder)}
    assert (done.label == SKIPPED).sum() == list(given.values()).count("")
    assert 0 < (done.label == SKIPPED).sum() < 10
    monkeypatch.undo()
    for die_at in range(1, whole.calls + 1):
        world = World(tmp_path / str(die_at), monkeypatch, die_at)
        world.folder.mkdir()
        again = world.live(key)
        monkeypatch.undo()
        assert world.rows == whole.rows, f"killed at step {die_at}"
        np.testing.assert_array_equal(again.label, done.label)
        told = [(one.id, one.label) for one in answers.read(world.folder)]
        assert told == list(given.items())  # each once, none lost
        assert {asked.round: asked for asked, _ in world.asked} == {
            asked.round: asked for asked, _ in whole.asked
        }


def test_what_is_skipped_leaves_the_pool_and_its_label_is_not_replaced(
    key, tmp_path, monkeypatch
):
    world = World(tmp_path, monkeypatch)
    done = world.live(key)
    skipped = np.flatnonzero(done.label == SKIPPED)
    assert set(skipped) <= set(NEVER)
    assert not done.pools.target[skipped].any()
    assert done.pools.target.sum() == 10 - skipped.size
    asked = [item.id for one, _ in world.asked for item in one.items]
    assert len(set(asked)) == len(asked) == 10
    picked = [row for rows in world.rows if rows[1] == -1 for row in rows[2]]
    assert set(picked) == set(np.flatnonzero(done.label >= 0))


def test_suggestions_are_those_of_the_network_that_picked(key, tmp_path, monkeypatch):
    world = World(tmp_path, monkeypatch)
    world.live(key)
    first, second, _ = (asked for asked, _ in world.asked)
    assert {(item.suggested, item.confidence, item.score) for item in first.items} == {
        ("", None, None)
    }
    probability = np.exp(3) / (1 + np.exp(1) + np.exp(3))
    for item in second.items:
        assert item.suggested == "c"
        assert item.confidence == pytest.approx(probability, abs=1e-4)
        assert item.score > 0


def test_a_correction_counts_from_the_next_purchase_on(key, tmp_path, monkeypatch):
    world, corrected = World(tmp_path, monkeypatch), []
    answer = world.answer

    def answer_and_correct(asked):
        answer(asked)
        if (
            asked.round == 1
        ):  # the first image that was labelled, and another is skipped
            old = [one for one in answers.read(tmp_path) if not one.skip][:2]
            new = "a" if old[0].label != "a" else "b"
            corrected.extend([(old[0].id, new), (old[1].id, "")])
            answers.append(
                tmp_path,
                [
                    old[0]._replace(label=new, origin=answers.PAGE),
                    old[1]._replace(label="", skip=True, origin=answers.PAGE),
                ],
            )

    world.answer = answer_and_correct
    done = world.live(key)
    rows = [IDS.index(id) for id, _ in corrected]
    assert (1, -2, sorted(rows)) in world.rows
    assert done.label[rows[0]] == CLASSES.index(corrected[0][1])
    assert done.label[rows[1]] == SKIPPED
    assert not done.pools.target[rows[1]]


def test_labels_csv_alone_buys_the_same_labels_without_asking(
    key, tmp_path, monkeypatch
):
    whole = World(tmp_path / "whole", monkeypatch)
    whole.folder.mkdir()
    done = whole.live(key)
    copy = World(tmp_path / "copy", monkeypatch)
    copy.folder.mkdir()
    (copy.folder / answers.FILE).write_bytes((whole.folder / answers.FILE).read_bytes())
    again = copy.live(key)
    assert copy.asked == []
    assert copy.rows == whole.rows
    np.testing.assert_array_equal(again.label, done.label)


def test_another_query_of_the_same_round_loses_no_file(key, tmp_path, monkeypatch):
    world = World(tmp_path, monkeypatch)
    world.answer = lambda asked: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        world.live(key)
    place = query.place(tmp_path, 0)
    text = query.text(query.read(place)).replace("t/", "u/")
    (place / query.FILE).write_text(text)  # as if other images had been picked before
    (place / "mine.json").write_text("[]")
    with pytest.raises(KeyboardInterrupt):
        world.live(key)
    assert (place.with_name("round_00_before_1") / "mine.json").read_text() == "[]"
    assert {item.id for item in query.read(place).items} <= set(IDS)


def test_with_accept_partial_a_query_that_nobody_has_answered_waits(
    key, tmp_path, monkeypatch
):
    """As after a kill between the writing of a query and the end of its process."""
    world = World(tmp_path, monkeypatch)
    world.accept_partial, lives = True, []
    fill_in = world.answer

    def answer(asked):
        lives.append(asked.round)
        if lives.count(asked.round) == 2:  # the same command was started again
            fill_in(asked)

    world.answer = answer
    done = world.live(key)
    assert lives == [0, 0, 1, 1, 2, 2]
    assert (done.label >= 0).any()


def test_with_accept_partial_one_image_must_have_a_label(key, tmp_path, monkeypatch):
    world = World(tmp_path, monkeypatch)
    world.accept_partial = True
    given = []

    def skip_one(asked):
        item = asked.items[0]
        given.append(item.id)
        skipped = answers.Answer(item.id, "", True, answers.now(), answers.PAGE)
        answers.append(tmp_path, [skipped])

    world.answer = skip_one
    with pytest.raises(errors.InputError, match="round_00 has no label yet"):
        world.live(key)
    assert len(given) == 1


def test_pools_in_the_memory_of_a_policy_lose_what_was_skipped():
    gone = np.array([False, True, False])
    pools = Pools(np.ones(2, bool), np.array([True, True, False]))
    memory = dual.Memory(1, 0, 0, pools, np.ones(2, bool), {"w": np.ones(3)}, 0.5)
    cleared = loop._without(gone, memory)
    assert cleared.union.target.tolist() == [True, False, False]
    assert cleared.union.source.tolist() == [True, True]
    assert cleared.variables["w"].tolist() == [1, 1, 1]
    assert cleared._replace(union=pools, variables=0) == memory._replace(variables=0)
