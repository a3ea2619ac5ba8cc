"""Algorithm 2 worked by hand: a laboratory whose answers are written down."""

from typing import NamedTuple

import jax
import numpy as np
import pytest

from dact_jax import errors, plugins
from dact_jax.policies import dual
from dact_jax.rounds import checkpoint, loop
from dact_jax.types import (
    TARGET,
    UNLABELED,
    Acquisitions,
    Evidence,
    Fitted,
    Lab,
    LossPredictor,
    Picked,
    Pools,
)
from tests import toy

NUM_SOURCE, NUM_TARGET = 8, 12
FREE = np.arange(NUM_TARGET) < 2  # rows 0 and 1 of the target are labelled for free
# The source's predicted loss; its order is 3, 0, 6, 5, 1, 7, 2, 4.
LOSS = np.array([0.2, 0.5, 0.8, 0.1, 0.9, 0.4, 0.3, 0.6], np.float32)


class Weights(NamedTuple):
    """What a predictor was trained on, in order: one number stands for a network."""

    history: np.ndarray  # int32[]


def _rows(mask):
    return tuple(np.flatnonzero(mask).tolist())


class World:
    """Answers as written down, and what was asked.

    `answer`: source and target rows that a network was trained on last -> accuracy.
    """

    def __init__(self, answer=None):
        self.asked, self.answer = [], answer

    def lab(self, label=None):
        def fit(variables, pools, key):
            self.asked.append(("fit", _rows(pools.source), _rows(pools.target)))
            if label is not None:  # only what was bought is trained on
                assert (label[pools.target] != UNLABELED).all()
            new = np.int32(variables.history * 31 % 9973 + pools.source.sum())
            return Fitted(Weights(new), {"target_loss": 0.5, "ranking_loss": 0.25})

        def accuracy(variables):
            _, source, target = self.asked[-1]
            return self.answer(source, target)

        def sweep(variables):
            self.asked.append(("score",))
            return Evidence(
                np.zeros((NUM_SOURCE, 1), np.float32),
                {"predicted_loss": np.resize(LOSS, NUM_SOURCE)},
                np.zeros(NUM_SOURCE, np.int32),
            )

        def look(variables, domain):
            assert domain == TARGET
            self.asked.append(("embed",))
            # The farthest from the labelled is always the last: 11, then 10, ...
            place = np.arange(NUM_TARGET, dtype=np.float32)[:, None]
            return Evidence(place, {}, None)

        predictor = LossPredictor(Weights(np.int32(1)), fit, accuracy, sweep)
        return Lab(look, np.arange(NUM_TARGET) != 5, predictor)


def lowest(evidence, taken, budget, key):
    """Predicted loss, ascending: what D_AcT does, in three lines."""
    del key
    free = np.flatnonzero(~taken)
    row = free[np.argsort(evidence.outputs["predicted_loss"][free], kind="stable")]
    row = row[:budget].astype(np.int32)
    score = evidence.outputs["predicted_loss"][row]
    return Picked(row, score, labels_read=len(free))


def last(evidence, taken, budget, key):
    """The last free rows, the last first."""
    del key
    row = np.flatnonzero(~taken)[::-1][:budget].astype(np.int32)
    return Picked(row, evidence.embedding[row, 0])


def make(acquire=None, labelled=FREE, **options):
    options = {
        "initial": 0,
        "per_round": 2,
        "purchases": 2,
        "source_per_round": 2,
        "source_rounds": 3,
        **options,
    }
    acquire = acquire or Acquisitions(target=last, source=lowest)
    return plugins.load("policies", "dual", acquire, labelled, **options)


def trace(world, policy, key):
    """What happens, one word a call of `select` or round of training."""
    label = np.where(FREE, 0, UNLABELED).astype(np.int32)
    now = policy.init(world.lab(label), NUM_SOURCE, NUM_TARGET, key)
    pools, told = now.pools, []
    for number in range(policy.num_rounds + 1):
        while now.again:
            now = policy.select(world.lab(label), None, pools, now.memory, key)
            told.append(now)
            pools = now.pools
            label = np.where(pools.target, 0, UNLABELED)
        if number < policy.num_rounds:
            world.asked.append(("adapt", _rows(pools.source), _rows(pools.target)))
        if number < policy.num_selections:
            now = now._replace(again=True)
    return told, pools, now.memory


# N after each choice, and T_l; 5 is not for sale, and 11, 10, 9, 8 are bought.
N1, N2, N3 = (0, 3), (0, 3, 5, 6), (0, 1, 3, 5, 6, 7)
T1, T2, T3 = (0, 1), (0, 1, 10, 11), (0, 1, 8, 9, 10, 11)


def test_both_branches_and_a_tie_by_hand(key):
    answers = iter(
        [
            *(0.6, 0.5),  # i = 1: the source is better. U = T1 + N1.
            *(0.7, 0.7),  # i = 2: a tie: S_AcT buys two. U = T2 + N1.
            *(0.1, 0.2),  # i = 3: the target is better: two more. U = T3 + N1.
        ]
    )
    world = World(lambda source, target: next(answers))
    told, pools, memory = trace(world, make(), key)
    assert world.asked == [
        ("fit", (), T1),  # 5: P on U = T_l
        ("score",),  # 6-8: N = 3, 0
        ("fit", N1, ()),  # 9-10: acc_s = 0.6
        ("fit", (), T1),  # 11-12: acc_t = 0.5
        ("fit", N1, T1),  # 5: P on U = N1 + T1
        ("score",),  # N = 3, 0, 6, 5
        ("fit", N2, ()),  # acc_s = 0.7
        ("fit", (), T1),  # acc_t = 0.7: a tie
        ("adapt", N2, T1),  # 16: S_AcT with N for its source
        ("embed",),  # buys 11 and 10
        ("fit", N1, T2),  # 5: U did not get N2
        ("score",),  # N = all but 2 and 4
        ("fit", N3, ()),  # acc_s = 0.1
        ("fit", (), T2),  # acc_t = 0.2
        ("adapt", N3, T2),
        ("embed",),  # buys 9 and 8
        ("adapt", N3, T3),  # the final training
    ]
    branches = [now.columns["branch"] for now in told if "branch" in now.columns]
    assert branches == ["source", "target", "target"]
    assert _rows(pools.source) == N3
    assert _rows(pools.target) == T3
    assert _rows(memory.union.source) == N1
    assert _rows(memory.union.target) == T3
    picked = [
        (side, found.row.tolist()) for now in told for side, found in now.picked.items()
    ]
    assert picked == [
        ("source", [3, 0]),
        ("source", [6, 5]),
        ("target", [11, 10]),
        ("source", [1, 7]),
        ("target", [9, 8]),
    ]
    # Every label of the source was looked at, in the first scoring already.
    name = "source_labels_read"
    read = [now.columns[name] for now in told if name in now.columns]
    assert read == [NUM_SOURCE] * 3


def _always(better):
    """A world in which the source, or the target, is always better."""

    return lambda source, target: 0.9 if bool(source) == (better == "source") else 0.1


def test_where_the_source_always_wins_the_labels_are_bought_at_the_end(key):
    world = World(_always("source"))
    _, pools, memory = trace(world, make(), key)
    done = [ask[0] for ask in world.asked]
    one = ["fit", "score", "fit", "fit"]
    assert done == [*one * 3, "adapt", "embed", "adapt", "embed", "adapt"]
    # S_AcT trains on all of N, each time.
    assert [ask[1:] for ask in world.asked if ask[0] == "adapt"] == [
        (N3, T1),
        (N3, T2),
        (N3, T3),
    ]
    assert _rows(memory.union.source) == N3
    assert _rows(pools.target) == T3


def test_spent_labels_end_the_buying_and_not_the_choosing(key):
    """Exhausted target budget: U and T_l stay, N grows on."""
    world = World(_always("target"))
    told, pools, _ = trace(world, make(purchases=1), key)
    branches = [now.columns["branch"] for now in told if "branch" in now.columns]
    assert branches == ["target", "spent", "spent"]
    assert [ask for ask in world.asked if ask[0] == "adapt"] == [
        ("adapt", N1, T1),
        ("adapt", N3, T2),
    ]
    unions = [ask[1:] for ask in world.asked if ask[0] == "fit"][::3]
    assert unions == [((), T1), ((), T2), ((), T2)]
    assert _rows(pools.target) == T2


def test_no_purchase_at_all(key):
    world = World(_always("target"))
    told, _, _ = trace(world, make(purchases=0), key)
    branches = [now.columns["branch"] for now in told if "branch" in now.columns]
    assert branches == ["spent"] * 3
    assert world.asked[-1] == ("adapt", N3, T1)


def test_a_source_used_up_to_the_last_sample(key):
    world = World(_always("target"))
    policy = make(source_per_round=4, source_rounds=2)
    _, pools, _ = trace(world, policy, key)
    assert pools.source.all()
    with pytest.raises(errors.InputError, match="3 x 4 = 12 source samples, but there"):
        make(source_per_round=4).init(world.lab(), NUM_SOURCE, NUM_TARGET, key)


def test_a_target_bought_up_to_its_last_but_one(key):
    world = World(_always("target"))
    # 9 are for sale, besides the two that are free; row 5 stays unlabelled.
    _, pools, _ = trace(world, make(per_round=3, purchases=3), key)
    assert _rows(~pools.target) == (5,)
    with pytest.raises(errors.InputError, match=r"policies\.dual asks for 0 \+ 5 x 2"):
        make(purchases=5).init(world.lab(), NUM_SOURCE, NUM_TARGET, key)


def test_a_beginning_without_any_target_label_is_refused(key):
    with pytest.raises(errors.InputError, match=r"set policies\.dual\.initial"):
        make(labelled=np.zeros(NUM_TARGET, bool)).init(
            World().lab(), NUM_SOURCE, NUM_TARGET, key
        )


def test_half_of_the_source_is_chosen_where_nothing_else_is_said(key):
    world = World(_always("target"))
    policy = make(source_per_round=0, source_rounds=2)
    _, pools, _ = trace(world, policy, key)
    assert _rows(pools.source) == N2  # of eight
    with pytest.raises(errors.InputError, match="half of the source in 5 rounds, but"):
        make(source_per_round=0, source_rounds=5).init(
            world.lab(), NUM_SOURCE, NUM_TARGET, key
        )


def test_numbers_that_are_too_small_are_refused():
    with pytest.raises(errors.InputError, match=r"dual\.source_rounds=0 must be 1 or"):
        make(source_rounds=0)
    with pytest.raises(errors.InputError, match=r"dual\.source_per_round=-1 must be 0"):
        make(source_per_round=-1)
    with pytest.raises(errors.InputError, match=r"policies\.dual\.purchases=-1"):
        make(purchases=-1)
    with pytest.raises(errors.InputError, match=r"policies\.dual\.trial='hot'"):
        make(trial="hot")


@pytest.mark.parametrize("trial", ["warm", "scratch"])
def test_trials_start_from_the_current_network_or_from_its_first_weights(trial, key):
    world, seen = World(_always("source")), []

    def lab(label=None):
        found = World.lab(world, label)

        def fit(variables, pools, key):
            seen.append((int(variables.history), np.asarray(jax.random.key_data(key))))
            return found.loss_predictor.fit(variables, pools, key)

        return found._replace(loss_predictor=found.loss_predictor._replace(fit=fit))

    world.lab = lab
    trace(world, make(trial=trial, source_rounds=2), key)
    for number in range(2):
        trained, source, target = seen[3 * number : 3 * number + 3]
        assert source[0] == target[0]
        np.testing.assert_array_equal(source[1], target[1])  # nor does chance differ
        assert (trained[1] != source[1]).any()
        assert (source[0] == 1) == (trial == "scratch")


def test_trials_leave_the_predictor_as_it_was(key):
    """Only their accuracies are used: P of line 5 goes on from P of line 5."""
    world, starts = World(_always("source")), []

    def lab(label=None):
        found = World.lab(world, label)

        def fit(variables, pools, key):
            after = found.loss_predictor.fit(variables, pools, key)
            starts.append((int(variables.history), int(after.variables.history)))
            return after

        return found._replace(loss_predictor=found.loss_predictor._replace(fit=fit))

    world.lab = lab
    trace(world, make(), key)
    lines = starts[::3]
    assert lines[0][0] == 1
    assert [start for start, _ in lines[1:]] == [after for _, after in lines[:-1]]


def test_r_act_draws_without_scoring(key):
    world = World(_always("source"))
    random = plugins.load("acquisitions", "random")
    acquire = Acquisitions(target=last, source=random, blind=True)
    _, pools, memory = trace(world, make(acquire), key)
    assert ("score",) not in world.asked
    assert pools.source.sum() == 6
    # It reads the labels that it trains on, and no other.
    np.testing.assert_array_equal(memory.read, pools.source)
    other = trace(world, make(acquire), jax.random.key(3))[1]
    assert (other.source != pools.source).any()


def test_a_score_without_labels_reads_those_of_n_only(key):
    def blindly(evidence, taken, budget, key):
        return lowest(evidence, taken, budget, key)._replace(labels_read=0)

    world = World(_always("source"))
    acquire = Acquisitions(target=last, source=blindly)
    _, pools, memory = trace(world, make(acquire), key)
    np.testing.assert_array_equal(memory.read, pools.source)


class Train(NamedTuple):
    step: int
    variables: float


def _go(world, policy, key, tmp_path, die_at=None):
    """A run whose checkpoints go to a disk and come back; killed at a verb's call."""
    calls = 0
    rows = tmp_path / "rows"
    store = checkpoint.open_store(tmp_path / "checkpoints")

    def call():
        nonlocal calls
        calls += 1
        if calls == die_at:
            store.close()
            raise toy.Killed

    def tell(what):
        call()
        with rows.open("a") as file:
            file.write(f"{what}\n")

    def save(experiment):
        call()
        size = rows.stat().st_size if rows.exists() else 0
        store.save(experiment._replace(written=(size, 0)))

    def adapt(experiment):
        call()
        world.asked.append(
            ("adapt", _rows(experiment.pools.source), _rows(experiment.pools.target))
        )
        return experiment._replace(
            train=Train(3, experiment.train.variables + experiment.round)
        )

    def counted(label):
        found = world.lab(label)

        def fit(*args):
            call()
            return found.loss_predictor.fit(*args)

        return found._replace(loss_predictor=found.loss_predictor._replace(fit=fit))

    actions = loop.Actions(
        adapt=adapt,
        measure=lambda experiment: {"round": experiment.round},
        choose=lambda experiment, row: experiment,
        restart=lambda train: Train(0, train.variables),
        track=lambda train: 0.0,
        lab=counted,
        oracle=lambda row: np.zeros(len(row), np.int32),
        save=save,
        record_round=lambda row: tell(row),
        record_selection=lambda row: tell(
            {k: v for k, v in row.items() if "seconds" not in k}
        ),
        record_picks=lambda number, picked: tell(
            (number, {side: found.row.tolist() for side, found in picked.items()})
        ),
    )
    start = loop.begin(
        actions._replace(
            save=lambda e: None, record_picks=lambda n, p: None, oracle=_zeros
        ),
        policy,
        Train(0, 1.0),
        (NUM_SOURCE, NUM_TARGET),
        key,
    )
    experiment = store.restore(start)
    if experiment is None:
        if rows.exists():
            rows.unlink()
        experiment = loop.begin(
            actions, policy, Train(0, 1.0), (NUM_SOURCE, NUM_TARGET), key
        )
    else:
        with rows.open("r+") as file:
            file.truncate(experiment.written[0])
    done = loop.run(experiment, actions, policy, key)
    store.close()
    return done, rows.read_text(), calls


def _zeros(row):
    return np.zeros(len(row), np.int32)


def _mixed():
    """Target, source, target: every line is passed, in every order there is."""

    trials = {2: 0.4, 4: 0.6, 6: 0.3}
    return lambda source, target: trials.get(len(source), 0.5)


def test_killed_between_any_two_lines_and_resumed_it_is_the_same_run(key, tmp_path):
    policy = make()
    whole = World(_mixed())
    done, rows, calls = _go(whole, policy, key, tmp_path / "whole")
    assert done.round == policy.num_rounds
    for die_at in range(1, calls + 1):
        place = tmp_path / str(die_at)
        place.mkdir()
        world = World(_mixed())
        with pytest.raises(toy.Killed):
            _go(world, policy, key, place, die_at)
        again, told, _ = _go(world, policy, key, place)
        assert told == rows, f"killed at call {die_at}"
        for one, other in zip(
            jax.tree.leaves(again._replace(written=(0, 0))),
            jax.tree.leaves(done._replace(written=(0, 0))),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)


def test_a_line_that_was_saved_is_not_done_again(key, tmp_path):
    """A kill in a line costs that line alone."""
    policy = make()
    whole = World(_mixed())
    _, _, calls = _go(whole, policy, key, tmp_path / "whole")
    fits = sum(ask[0] == "fit" for ask in whole.asked)
    world = World(_mixed())
    with pytest.raises(toy.Killed):
        _go(world, policy, key, tmp_path / "killed", calls - 3)
    _go(world, policy, key, tmp_path / "killed")
    assert sum(ask[0] == "fit" for ask in world.asked) <= fits + 1


def test_memory_holds_what_algorithm_2_needs(key):
    now = make().init(World().lab(), NUM_SOURCE, NUM_TARGET, key)
    assert isinstance(now.memory, dual.Memory)
    assert now.memory.line == dual.TRAIN
    assert now.again
    np.testing.assert_array_equal(now.memory.union.target, FREE)
    assert not now.memory.union.source.any()
    assert isinstance(now.pools, Pools)
