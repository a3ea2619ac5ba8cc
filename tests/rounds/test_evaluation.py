"""What a round's evaluations tell, and which of its networks goes on."""

import contextlib
import functools

import jax
import numpy as np
import pytest

from dact_jax import errors, run_types
from dact_jax.configuration import build
from dact_jax.rounds import actions, checkpoint, evaluation, loop, session, workdir
from dact_jax.rounds.evaluation import Scores
from dact_jax.run_types import Track
from dact_jax.training import inference
from dact_jax.types import SOURCE, TARGET, UNLABELED, Pools
from tests import toy

pytestmark = pytest.mark.usefixtures("built_once")

CHANGES = {"eval.every": 2, "eval.keep": "best_val", "model.num_norms": 2}


def test_mean_class_accuracy_by_hand():
    logits = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 2, 0, 2]]
    label = np.array([0, 0, 0, 0, 2, 2, -1])
    # Class 0: 3 of 4; class 1: no row; class 2: 1 of 2; one row without label.
    mean = inference.mean_class_accuracy(logits, label)
    assert mean == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert inference.accuracy(logits, label) == pytest.approx(4 / 6)
    keep = np.arange(7) < 5
    assert inference.mean_class_accuracy(logits, label, keep) == pytest.approx(7 / 8)
    with pytest.raises(ValueError, match="at least one labelled row"):
        inference.mean_class_accuracy(logits, label, np.arange(7) > 5)


def _after(*scores):
    """The track of evaluations at steps 10, 20, ..., each with kept = its step."""
    track = Track(-1.0, -1.0, 0, -1.0, 0)
    for step, (test, val) in enumerate(scores, start=1):
        track = evaluation.update(
            track, Scores(test, test, val), 10 * step, kept=10 * step
        )
    return track


def test_what_evaluations_have_seen_by_hand():
    track = _after((0.5, 0.3), (0.9, 0.2), (0.6, 0.8), (0.7, 0.4))
    assert track[:4] == (0.8, 0.6, 30, 0.9)
    track = _after((0.5, 0.8), (0.4, 0.8), (0.9, 0.7))  # of equals the later one
    assert track[:4] == (0.8, 0.4, 20, 0.9)
    assert _after((0.5, 0.0))[:4] == (0.0, 0.5, 10, 0.5)  # 0 is a value like any


def test_without_validation_or_test_labels_nothing_is_known():
    track = _after((0.5, None), (0.4, None))
    assert track[:4] == (-1.0, -1.0, 0, 0.5)
    track = _after((None, 0.3), (None, 0.2))
    assert track[:4] == (0.3, -1.0, 10, -1.0)
    assert _after((None, None))[:4] == (-1.0, -1.0, 0, -1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def made(folder):
    """Two rounds of eight iterations, tested after every second."""
    return build.build(toy.vector_config(folder, **CHANGES))[0]


def _measured(made, **changes):
    """The row of a first round in which nothing was trained."""
    run = made._replace(**changes)
    truth = np.asarray(run.task.target.train.label)
    return evaluation.measure(run, actions.template(run)._replace(label=truth))


def test_a_row_without_evaluations_between_is_of_the_last_network(made):
    row = _measured(made)
    assert row["test_at_best_val"] == row["best_test"] == row["test_accuracy"]
    assert row["best_val"] == row["val_accuracy"]
    assert row["best_val_step"] == row["step"] == 0
    variables, test = made.train.variables, made.task.target.test
    label = np.asarray(test.label)
    features, _ = made.model.encode(variables, test.image[None], (1,), train=False)
    logits = made.model.head(variables, "classifier", features)[0]
    right = np.asarray(logits.argmax(-1)) == label
    assert row["test_accuracy"] == right.mean()
    each = [right[label == k].mean() for k in range(3)]
    assert row["test_mean_class_accuracy"] == pytest.approx(np.mean(each))


def test_a_row_says_none_where_nothing_is_known(made):
    target = made.task.target
    nothing = target.val._replace(label=np.full(len(target.val.label), -1, np.int32))
    task = made.task._replace(target=target._replace(val=nothing))
    row = _measured(made, task=task)
    names = ("val_accuracy", "best_val", "best_val_step", "test_at_best_val")
    assert [row[name] for name in names] == [None] * 4
    assert row["best_test"] == row["test_accuracy"] is not None


@pytest.mark.parametrize(("branch", "domain"), [("source", SOURCE), ("target", TARGET)])
def test_the_branch_says_which_norm_row_the_target_passes(made, folder, branch, domain):
    changed = build.build(
        toy.vector_config(folder, **{**CHANGES, "eval.branch": branch})
    )
    settings = changed[0].evaluation
    assert settings.domain == domain
    spoilt = 1 - domain  # the other row gives no number at all
    variables = made.train.variables
    stats = jax.tree.map(lambda leaf: leaf.at[spoilt].set(np.nan), variables.stats)
    pools = actions.template(made).pools
    run = made._replace(evaluation=settings)
    clean = evaluation.evaluate(run, variables, pools)
    assert evaluation.evaluate(run, variables._replace(stats=stats), pools) == clean
    other = jax.tree.map(lambda leaf: leaf.at[domain].set(np.nan), variables.stats)
    with pytest.raises(errors.DivergedError):
        evaluation.evaluate(run, variables._replace(stats=other), pools)


def test_of_a_transductive_pool_the_labelled_part_is_not_tested(made):
    target = made.task.target
    run = made._replace(
        task=made.task._replace(target=target._replace(test=target.train))
    )
    label = np.asarray(target.train.label)
    pools = Pools(np.ones(60, bool), np.arange(len(label)) % 2 == 0)
    variables, images = made.train.variables, target.train.image
    features, _ = made.model.encode(variables, images[None], (1,), train=False)
    logits = made.model.head(variables, "classifier", features)[0]
    right = np.asarray(logits.argmax(-1)) == label
    found = evaluation.evaluate(run, variables, pools)
    assert found.test == pytest.approx(right[1::2].mean())


def _script(monkeypatch, *scores):
    """What evaluations find, in order; returns the variables that they were given."""
    left, given = list(scores), []

    def evaluate(run, variables, pools):
        given.append(jax.tree.map(np.array, variables))  # training donates its buffers
        test, val = left.pop(0)
        return Scores(test, test, val)

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    return given


def _same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_best_by_validation_go_on_and_the_row_is_of_the_last(
    made, tmp_path, monkeypatch
):
    """Steps 2, 4, 6 and the end, 8, of each of two rounds; each evaluated once."""
    first = [(0.5, 0.1), (0.6, 0.7), (0.8, 0.7), (0.9, 0.2)]
    second = [(0.3, 0.1), (0.2, 0.3), (0.1, 0.2), (0.7, 0.4)]
    given = _script(monkeypatch, *first, *second)
    swept, begun, told = [], [], []
    store = checkpoint.Store(lambda tree: None, None)
    show = run_types.Show(round=told.append)
    act = actions.bind(made, store, tmp_path, show)
    label = np.full(len(made.task.target.id), UNLABELED, np.int32)
    lab = actions.lab(made, label)

    def sweep(variables, domain):
        swept.append(jax.tree.map(np.array, variables))
        return lab.sweep(variables, domain)

    def restart(train):
        fresh = act.restart(train)
        begun.append(jax.tree.map(np.array, fresh.variables))
        return fresh

    done = loop.run(
        actions.begin(made, act),
        act._replace(restart=restart, lab=lambda label: lab._replace(sweep=sweep)),
        made.policy,
        made.key,
    )
    _same(swept, [given[2]])  # the later of two equals, at step 6
    _same(begun, [given[2]])
    _same(done.train.variables, given[7])
    assert len(given) == 8
    assert not toy.same(given[2], given[3])
    names = ("test_accuracy", "val_accuracy", "best_val", "best_val_step")
    found = [[row[name] for name in names] for row in told]
    assert found == [[0.9, 0.2, 0.7, 6], [0.7, 0.4, 0.4, 8]]
    found = [[row["test_at_best_val"], row["best_test"]] for row in told]
    assert found == [[0.8, 0.9], [0.7, 0.7]]
    rows = [row for row in workdir.read(tmp_path) if row["event"] == "eval"]
    expected = [
        {
            "event": "eval",
            "round": number,
            "step": 2 * place + 2,
            "test_accuracy": test,
            "val_accuracy": val,
        }
        for number, part in enumerate((first, second))
        for place, (test, val) in enumerate(part[:-1])
    ]
    assert rows == expected


def test_the_last_go_on_by_default(made, tmp_path, monkeypatch):
    evaluation = made.evaluation._replace(keep="last")
    run = made._replace(evaluation=evaluation)
    given = _script(monkeypatch, *[(0.5, 0.9), *[(0.4, 0.1)] * 3])
    store = checkpoint.Store(lambda tree: None, None)
    show = run_types.Show()
    act = actions.bind(run, store, tmp_path, show)
    first = actions.begin(run, act)
    assert first.track.kept == ()
    done = act.adapt(first)
    chosen = act.choose(done, act.measure(done))
    _same(chosen.train.variables, given[3])


def _by_weights(run, variables, pools):
    """Accuracies that jump about from step to step, the same for the same weights."""
    weights = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(variables)]
    total = 1e4 * sum(float(np.abs(leaf).sum()) for leaf in weights)
    return Scores(total % 1, total % 1, total * 7 % 1)


def _unclaimed(folder, config, *, flag):
    """Stands for the claim of a folder that is this run's already."""


def _session(made, place, die_at=()):
    """One process; it dies once the row of such an iteration is written."""

    @contextlib.contextmanager
    def shows(stage, lengths, start):
        def step(number, at, losses):
            if (number, at) in die_at:
                raise toy.Killed

        yield run_types.Show(step=step)

    return session.run(made, place, {}, _unclaimed, shows).experiment


def test_killed_between_evaluations_the_best_weights_and_the_rows_are_the_same(
    made, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluation, "evaluate", _by_weights)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = _session(made, whole)
    for place in ((0, 2), (0, 8), (1, 6), (1, 8)):  # checkpoints lie at 0, 4 and 8
        with pytest.raises(toy.Killed):
            _session(made, killed, [place])
    again = _session(made, killed)
    _same(again.train.variables, done.train.variables)
    _same(again.track, done.track)

    def rows(place):
        return [
            {k: value for k, value in row.items() if not k.startswith("seconds")}
            for row in workdir.read(place)
        ]

    assert rows(killed) == rows(whole)
    evaluated = [(r["round"], r["step"]) for r in rows(killed) if r["event"] == "eval"]
    assert evaluated == [(number, at) for number in (0, 1) for at in (2, 4, 6)]
    best = [row["best_val_step"] for row in rows(killed) if row["event"] == "round"]
    assert any(at < 8 for at in best)  # or nothing was restored


def test_a_run_stopped_in_a_policy_s_turn_goes_on_before_the_round(made, tmp_path):
    """So the bar and TensorBoard begin where that round does."""
    starts = []

    @contextlib.contextmanager
    def shows(stage, lengths, start, die=False):
        starts.append(start)

        def select(row):
            if die:
                raise toy.Killed

        yield run_types.Show(select=select)

    with pytest.raises(toy.Killed):
        session.run(made, tmp_path, {}, _unclaimed, functools.partial(shows, die=True))
    session.run(made, tmp_path, {}, _unclaimed, shows)
    assert starts == [(0, 0), (1, 0)]
