"""The outer loop with a fake laboratory: every order of calls, killed at every call."""

from typing import NamedTuple

import jax
import numpy as np
import pytest

from dact_jax import plugins
from dact_jax.rounds import loop
from dact_jax.types import UNLABELED, Acquisitions, Evidence, Lab
from tests import toy

TRUTH = (np.arange(40) * 7 % 3).astype(np.int32)
STEPS = 4


class Train(NamedTuple):
    step: int
    variables: float


class Track(NamedTuple):
    score: float
    kept: float  # the variables that go on


class World:
    """A disk (checkpoint and rows) that outlives the process, and fake verbs."""

    def __init__(self, die_at=None):
        self.saved, self.rows, self.calls, self.die_at = None, [], 0, die_at

    def call(self):
        self.calls += 1
        if self.calls == self.die_at:
            raise toy.Killed

    def save(self, experiment):
        self.call()
        self.saved = experiment._replace(written=(len(self.rows), 0))

    def lab(self, label):
        return LAB

    def adapt(self, experiment):
        train, track = experiment.train, experiment.track
        while train.step < STEPS:
            self.call()
            heard = float(experiment.label[experiment.pools.target].sum())
            train = Train(train.step + 1, train.variables * 0.5 + heard + train.step)
            self.rows.append((experiment.round, train.step, train.variables))
            score = -(train.variables % 3.0)  # not best at the end of a round
            if score >= track.score:
                track = Track(score, train.variables)
            if train.step % 2 == 0:
                self.save(experiment._replace(train=train, track=track))
        return experiment._replace(train=train, track=track)

    def measure(self, experiment):
        self.call()
        return {"round": experiment.round, "value": experiment.train.variables}

    def choose(self, experiment, row):
        self.call()
        assert row == {"round": experiment.round, "value": experiment.train.variables}
        train = experiment.train._replace(variables=experiment.track.kept)
        return experiment._replace(train=train)

    def track(self, train):
        self.call()
        return Track(-np.inf, train.variables)

    def restart(self, train):
        self.call()
        return Train(0, train.variables)

    def record_round(self, row):
        self.rows.append((row["round"], STEPS + 1, row["value"]))
        self.call()

    def record_picks(self, number, picked, label):
        self.rows.append((number, -1, picked["target"].row.tolist()))
        self.call()

    def record_selection(self, row):
        assert row["seconds_training"] == 0
        assert row["seconds_scoring"] >= 0
        self.rows.append((row["round"], 0, row["event"]))
        self.call()

    def record_corrections(self, number, row, label):
        self.rows.append((number, -2, row.tolist()))

    def rewind(self):
        """As workdir.rewind does."""
        self.rows = self.rows[: self.saved.written[0] if self.saved else 0]

    def oracle(self, asked):
        self.call()
        label = asked.label.copy()
        label[asked.row] = TRUTH[asked.row]
        return label

    def actions(self):
        return loop.Actions(
            adapt=self.adapt,
            measure=self.measure,
            choose=self.choose,
            restart=self.restart,
            track=self.track,
            lab=self.lab,
            oracle=self.oracle,
            save=self.save,
            record_round=self.record_round,
            record_selection=self.record_selection,
            record_picks=self.record_picks,
            record_corrections=self.record_corrections,
        )


def _sweep(variables, domain):
    rng = np.random.default_rng(abs(int(variables * 1000)))
    return Evidence(rng.normal(size=(40, 3)).astype(np.float32), {}, None)


LAB = Lab(_sweep, np.ones(40, bool))


def _policy(**options):
    acquire = plugins.load("acquisitions", "k_center")
    acquire = Acquisitions(target=acquire, source=None)
    options = {"initial": 4, "per_round": 3, "purchases": 2, **options}
    return plugins.load("policies", "single", acquire, np.zeros(40, bool), **options)


def _go(world, policy, key):
    actions = world.actions()
    experiment = world.saved
    if experiment is None:
        experiment = loop.begin(actions, policy, Train(0, 1.0), (5, 40), key)
    return loop.run(experiment, actions, policy, key)


def test_order_of_a_run(key):
    world = World()
    done = _go(world, _policy(), key)
    assert done.round == 3
    assert done.pools.target.sum() == 10
    places = [row[:2] for row in world.rows]
    one_round = [*range(1, STEPS + 2)]
    expected = [
        (r, s) for r in range(3) for s in ((-1, 0) if r else (-1,)) + (*one_round,)
    ]
    assert places == expected


def test_the_first_labels_may_be_chosen_before_the_first_round(key):
    world, swept = World(), []

    def sweep(variables, domain):
        swept.append(variables)
        return _sweep(variables, domain)

    world.lab = lambda label: LAB._replace(sweep=sweep)
    _go(world, _policy(start="acquisition"), key)
    assert swept[0] == 1.0  # the network that round 0 begins with
    # Nothing is given, then four are bought; and round 0 trains on them.
    assert [row[:2] for row in world.rows[:4]] == [(0, -1), (0, -1), (0, 0), (0, 1)]
    assert [len(row[2]) for row in world.rows[:2]] == [0, 4]


def test_only_bought_labels_are_known(key):
    done = _go(World(), _policy(), key)
    np.testing.assert_array_equal(
        done.label[done.pools.target], TRUTH[done.pools.target]
    )
    assert (done.label[~done.pools.target] == UNLABELED).all()


def test_to_the_letter_the_last_purchase_is_not_trained_on(key):
    world = World()
    done = _go(world, _policy(final_training=False), key)
    assert done.pools.target.sum() == 10
    assert [row[:2] for row in world.rows[-2:]] == [(2, -1), (2, 0)]
    assert max(row[0] for row in world.rows if row[1] > 0) == 1


def test_a_finished_run_does_nothing(key):
    world = World()
    _go(world, _policy(), key)
    before = (list(world.rows), world.calls)
    _go(world, _policy(), key)
    assert (world.rows, world.calls) == before


@pytest.mark.parametrize("start", ["random", "acquisition"])
def test_killed_at_any_call_and_resumed_it_is_the_same_run(key, start):
    whole, policy = World(), _policy(start=start)
    done = _go(whole, policy, key)
    assert done.pools.target.sum() == 10
    for die_at in range(1, whole.calls + 1):
        world = World(die_at)
        with pytest.raises(toy.Killed):
            _go(world, policy, key)
        world.die_at = None
        world.rewind()
        again = _go(world, policy, key)
        assert world.rows == whole.rows, f"killed at call {die_at}"
        np.testing.assert_array_equal(again.pools.target, done.pools.target)
        assert (again.train, again.track) == (done.train, done.track)


def test_rows_are_of_the_last_weights_and_all_that_follows_of_the_chosen(key):
    """Selection, the next round and the end see what `choose` gave."""
    world, swept, begun = World(), [], []

    def sweep(variables, domain):
        swept.append(variables)
        return _sweep(variables, domain)

    def restart(train):
        begun.append(train.variables)
        return Train(0, train.variables)

    world.restart = restart
    world.lab = lambda label: LAB._replace(sweep=sweep)
    done = _go(world, _policy(), key)
    best, last = [], []
    for number in range(3):
        weights = [row[2] for row in world.rows if row[0] == number and 0 < row[1] <= 4]
        best.append(min(weights, key=lambda w: w % 3.0))
        last.append(weights[-1])
    assert all(one != other for one, other in zip(best, last, strict=True))
    assert [row[2] for row in world.rows if row[1] == STEPS + 1] == last
    assert swept == begun == best[:2]
    assert done.train.variables == best[2]


def test_every_round_begins_to_track_anew(key):
    world, begun = World(), []

    def track(train):
        begun.append(train)
        return Track(-np.inf, train.variables)

    world.track = track
    _go(world, _policy(), key)
    assert [train.step for train in begun] == [0, 0, 0]
    assert len({train.variables for train in begun}) == 3


def test_every_selection_has_a_key_of_its_own(key):
    seen = []

    def acquire(evidence, taken, budget, key):
        seen.append(jax.random.key_data(key).tolist())
        return plugins.load("acquisitions", "random")(evidence, taken, budget, key)

    options = {"initial": 0, "per_round": 3, "purchases": 3}
    acquire = Acquisitions(target=acquire, source=None)
    policy = plugins.load("policies", "single", acquire, np.zeros(40, bool), **options)
    _go(World(), policy, key)
    _go(World(), policy, jax.random.key(1))
    assert len(seen) == 6
    assert len({tuple(data) for data in seen}) == 6
