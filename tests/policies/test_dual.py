"""Algorithm 2 worked by hand, in the real outer loop with a fake lab."""

from typing import NamedTuple

import jax
import numpy as np
import pytest

from dact_jax import errors, plugins
from dact_jax.policies import dual
from dact_jax.rounds import loop, oracle
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

NUM_SOURCE, NUM_TARGET = 8, 12
FREE = np.arange(NUM_TARGET) < 2  # rows 0 and 1 of the target are labelled for free
# The source's predicted loss; its order is 3, 0, 6, 5, 1, 7, 2, 4.
LOSS = np.array([0.2, 0.5, 0.8, 0.1, 0.9, 0.4, 0.3, 0.6], np.float32)


class Weights(NamedTuple):
    """Stands for a network: a number that depends on all it was trained on."""

    history: np.ndarray  # int32[]


class Train(NamedTuple):
    variables: None = None  # the adapted network, of which the fake lab needs nothing


class Fit(NamedTuple):
    """One call of `LossPredictor.fit`."""

    start: int  # `Weights.history` before and after
    end: int
    key: tuple[int, ...]


def _rows(mask):
    return tuple(np.flatnonzero(mask).tolist())


class World:
    """A fake lab and fake training that log what they are asked to do.

    `answer`: source and target rows that a network was trained on last -> accuracy.
    """

    def __init__(self, answer=None):
        self.asked, self.fits, self.answer = [], [], answer

    def lab(self, label):
        def fit(variables, pools, key):
            self.asked.append(("fit", _rows(pools.source), _rows(pools.target)))
            assert (label[pools.target] != UNLABELED).all()  # all of it was bought
            new = np.int32(variables.history * 31 % 9973 + pools.source.sum())
            data = tuple(jax.random.key_data(key).tolist())
            self.fits.append(Fit(int(variables.history), int(new), data))
            return Fitted(Weights(new), {"target_loss": 0.5, "ranking_loss": 0.25})

        def accuracy(variables):
            assert int(variables.history) == self.fits[-1].end
            _, source, target = self.asked[-1]
            return self.answer(source, target)

        def sweep_source(variables):
            self.asked.append(("score",))
            return Evidence(
                np.zeros((NUM_SOURCE, 1), np.float32),
                {"predicted_loss": LOSS},
                np.zeros(NUM_SOURCE, np.int32),
            )

        def sweep(variables, domain):
            assert domain == TARGET
            self.asked.append(("embed",))
            place = np.arange(NUM_TARGET, dtype=np.float32)[:, None]
            return Evidence(place, {}, None)

        predictor = LossPredictor(Weights(np.int32(1)), fit, accuracy, sweep_source)
        return Lab(sweep, np.arange(NUM_TARGET) != 5, predictor)

    def adapt(self, experiment):
        pools = experiment.pools
        self.asked.append(("adapt", _rows(pools.source), _rows(pools.target)))
        return experiment


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


def init(policy, key=None):
    label = np.full(NUM_TARGET, UNLABELED, np.int32)
    key = jax.random.key(0) if key is None else key
    return policy.init(World().lab(label), NUM_SOURCE, NUM_TARGET, key)


class Trace(NamedTuple):
    rows: list  # one row of metrics.jsonl for each line of the algorithm
    picked: list  # (side, row numbers), in the order of picks.csv
    pools: Pools
    memory: dual.Memory

    def column(self, name):
        return [row[name] for row in self.rows if name in row]


def trace(world, policy, key, saved=None):
    """A whole run in the real outer loop.

    Args:
      saved: gets the checkpoints; the run goes on from the last that is in it.
    """
    rows, picks = [], []
    saved = [] if saved is None else saved

    def record_picks(number, picked, label):
        picks.extend((side, picks.row.tolist()) for side, picks in picked.items())

    actions = loop.Actions(
        adapt=world.adapt,
        measure=lambda experiment: {},
        choose=lambda experiment, row: experiment,
        restart=lambda train: train,
        track=lambda train: (),
        lab=world.lab,
        oracle=oracle.from_dataset(np.zeros(NUM_TARGET, np.int32)),
        save=saved.append,
        record_round=lambda row: None,
        record_selection=rows.append,
        record_picks=record_picks,
        record_corrections=lambda number, row, label: None,
    )
    sizes = NUM_SOURCE, NUM_TARGET
    resumed = saved[-1] if saved else None
    first = resumed or loop.begin(actions, policy, Train(), sizes, key)
    done = loop.run(first, actions, policy, key)
    return Trace(rows, picks, done.pools, done.memory)


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
    run = trace(world, make(), key)
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
    assert run.column("branch") == ["source", "target", "target"]
    assert _rows(run.pools.source) == N3
    assert _rows(run.pools.target) == T3
    assert _rows(run.memory.union.source) == N1
    assert _rows(run.memory.union.target) == T3
    assert run.picked == [
        ("target", [0, 1]),
        ("source", [3, 0]),
        ("source", [6, 5]),
        ("target", [11, 10]),
        ("source", [1, 7]),
        ("target", [9, 8]),
    ]
    # Every label of the source was read, in the first scoring already.
    assert run.column("source_labels_read") == [NUM_SOURCE] * 3


def test_rows_of_an_iteration_hold_what_the_algorithm_compared(key):
    answers = iter((0.6, 0.5, 0.7, 0.7))
    world = World(lambda source, target: next(answers))
    run = trace(world, make(source_rounds=2, purchases=1), key)
    lines = ["train the predictor", "choose source samples", "try the source samples"]
    lines.append("try the target labels")
    assert run.column("line") == [*lines, *lines, "buy target labels"]
    assert run.column("iteration") == [1, 1, 2, 2]
    assert run.column("union") == [2, 4]
    assert run.column("ranking_loss") == [0.25, 0.25]
    assert run.column("accuracy_source") == [0.6, 0.7]
    assert run.column("accuracy_target") == [0.5, 0.7]
    assert run.column("source_samples") == [2, 4]
    assert run.column("labels_target") == [2, 2, 4]


def _always(better):
    """Answers in which the source, or the target, is always better."""
    return lambda source, target: 0.9 if bool(source) == (better == "source") else 0.1


def test_where_the_source_always_wins_the_labels_are_bought_at_the_end(key):
    world = World(_always("source"))
    run = trace(world, make(), key)
    verbs = [ask[0] for ask in world.asked]
    iteration = ["fit", "score", "fit", "fit"]
    assert verbs == [*iteration * 3, "adapt", "embed", "adapt", "embed", "adapt"]
    # S_AcT trains on all of N, each time.
    assert [ask[1:] for ask in world.asked if ask[0] == "adapt"] == [
        (N3, T1),
        (N3, T2),
        (N3, T3),
    ]
    assert _rows(run.memory.union.source) == N3
    assert _rows(run.pools.target) == T3


def test_a_spent_label_budget_ends_the_buying_but_not_the_choosing(key):
    """U and T_l stay as they are; N grows on."""
    world = World(_always("target"))
    run = trace(world, make(purchases=1), key)
    assert run.column("branch") == ["target", "spent", "spent"]
    assert [ask for ask in world.asked if ask[0] == "adapt"] == [
        ("adapt", N1, T1),
        ("adapt", N3, T2),
    ]
    unions = [ask[1:] for ask in world.asked if ask[0] == "fit"][::3]
    assert unions == [((), T1), ((), T2), ((), T2)]
    assert _rows(run.pools.target) == T2


def test_no_purchase_at_all(key):
    world = World(_always("target"))
    run = trace(world, make(purchases=0), key)
    assert run.column("branch") == ["spent"] * 3
    assert world.asked[-1] == ("adapt", N3, T1)


def test_a_source_used_up_to_the_last_sample(key):
    world = World(_always("target"))
    run = trace(world, make(source_per_round=4, source_rounds=2), key)
    assert run.pools.source.all()
    with pytest.raises(errors.InputError, match="3 x 4 = 12 source samples"):
        init(make(source_per_round=4))


def test_a_target_bought_up_to_its_last_but_one(key):
    world = World(_always("target"))
    # 9 are for sale, besides the two that are free; row 5 stays unlabelled.
    run = trace(world, make(per_round=3, purchases=3), key)
    assert _rows(~run.pools.target) == (5,)
    with pytest.raises(errors.InputError, match=r"policies\.dual.* 0 \+ 5 x 2 = 10 "):
        init(make(purchases=5))


def test_a_start_without_any_target_label_is_rejected():
    with pytest.raises(errors.InputError, match=r"policies\.dual\.initial"):
        init(make(labelled=np.zeros(NUM_TARGET, bool)))


def test_half_of_the_source_is_chosen_by_default(key):
    world = World(_always("target"))
    run = trace(world, make(source_per_round=0, source_rounds=2), key)
    assert _rows(run.pools.source) == N2  # of eight
    with pytest.raises(errors.InputError, match=r"5 rounds.* only 8 .*source_rounds"):
        init(make(source_per_round=0, source_rounds=5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source_rounds": 0}, r"policies\.dual\.source_rounds=0 .*1"),
        ({"source_per_round": -1}, r"policies\.dual\.source_per_round=-1 .*0"),
        ({"purchases": -1}, r"policies\.dual\.purchases=-1"),
        ({"trial": "hot"}, r"policies\.dual\.trial='hot'.*'warm', 'scratch'"),
    ],
)
def test_options_out_of_range_are_rejected(options, message):
    with pytest.raises(errors.InputError, match=message):
        make(**options)


@pytest.mark.parametrize("trial", ["warm", "scratch"])
def test_trials_start_from_the_current_or_from_the_initial_weights(trial, key):
    world = World(_always("source"))
    trace(world, make(trial=trial, source_rounds=2), key)
    assert len(world.fits) == 6
    for number in range(2):
        trained, source, target = world.fits[3 * number : 3 * number + 3]
        assert source.start == target.start == (trained.end if trial == "warm" else 1)
        assert source.key == target.key  # only their samples differ
        assert trained.key != source.key


def test_trials_leave_the_predictor_as_it_was(key):
    """Only their accuracies are used: each line 5 continues from the last line 5."""
    world = World(_always("source"))
    trace(world, make(), key)
    trained = world.fits[::3]
    assert trained[0].start == 1
    assert [fit.start for fit in trained[1:]] == [fit.end for fit in trained[:-1]]


def test_r_act_draws_without_scoring(key):
    world = World(_always("source"))
    random = plugins.load("acquisitions", "random")
    acquire = Acquisitions(target=last, source=random, blind=True)
    run = trace(world, make(acquire), key)
    assert ("score",) not in world.asked
    assert run.pools.source.sum() == 6
    # It reads the labels that it trains on, and no other.
    np.testing.assert_array_equal(run.memory.read, run.pools.source)
    other = trace(world, make(acquire), jax.random.key(3))
    assert (other.pools.source != run.pools.source).any()


def test_a_score_without_labels_reads_those_of_n_only(key):
    def without_labels(evidence, taken, budget, key):
        return lowest(evidence, taken, budget, key)._replace(labels_read=0)

    world = World(_always("source"))
    acquire = Acquisitions(target=last, source=without_labels)
    run = trace(world, make(acquire), key)
    np.testing.assert_array_equal(run.memory.read, run.pools.source)
    assert run.column("source_labels_read") == [2, 4, 6]


def test_the_first_memory(key):
    first = init(make(), key)
    assert isinstance(first.memory, dual.Memory)
    assert first.memory.line == dual.Line.TRAIN
    assert first.again
    np.testing.assert_array_equal(first.memory.union.target, FREE)
    assert not first.memory.union.source.any()
    assert isinstance(first.pools, Pools)


def test_checkpoints_of_any_version_number_the_lines_alike():
    """Renumbering them would resume old runs at the wrong line."""
    assert {line.name: line.value for line in dual.Line} == {
        "TRAIN": 0,
        "CHOOSE": 1,
        "TRY_SOURCE": 2,
        "DECIDE": 3,
        "BUY": 4,
        "START": 5,
    }
    assert np.asarray(dual.Line.BUY).dtype == np.int64
