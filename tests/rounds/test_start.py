"""Real runs whose first labels an acquisition chooses, and what it gets to see."""

import contextlib

import jax
import numpy as np
import pytest

from dact_jax import errors, plugins, run_types
from dact_jax.configuration import build, files
from dact_jax.rounds import actions, checkpoint, loop, session, workdir
from dact_jax.training import inference, representation
from dact_jax.types import SKIPPED, SOURCE, TARGET, UNLABELED
from tests import toy

START = {"policies.single.start": "acquisition", "policies.dual.start": "acquisition"}
READS = ("input", "bought")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    return tmp_path_factory.mktemp("start")


def _config(vectors, **changes):
    changes = {**START, "acquisition": "k_center", "pretrain.steps": 4, **changes}
    return toy.vector_config(vectors, "s_act", **changes)


def _claim(folder, identity, *, flag="--workdir"):
    folder.mkdir(parents=True, exist_ok=True)


def _shows(*_):
    return contextlib.nullcontext(run_types.Show())


def _run(made, folder):
    return session.run(made, folder, {}, _claim, _shows).experiment


@pytest.fixture(scope="module")
def finished(vectors, tmp_path_factory):
    """A run, its folder, and its experiment at the end."""
    folder = tmp_path_factory.mktemp("finished")
    made, _ = build.build(_config(vectors))
    return made, folder, _run(made, folder)


def test_picks_say_who_chose_the_first_labels_and_by_which_network(finished):
    _, folder, experiment = finished
    picks = workdir.read_picks(folder)
    named = [(pick.round, pick.acquisition, pick.checkpoint) for pick in picks]
    assert named == [(0, "k_center", "pretrained")] * 3 + [(1, "k_center", "0/8")] * 3
    assert experiment.pools.target.sum() == 6
    events = [(row["event"], row["round"]) for row in workdir.read(folder)]
    assert events[:3] == [("pretrain", -1), ("select", 0), ("train", 0)]


def test_the_first_picks_are_those_of_the_pretrained_network(finished):
    made, folder, _ = finished
    pretrained, _ = session.pretrain(made, folder, _claim, _shows)
    target = made.task.target
    seen = inference.sweep(
        made.forward, pretrained.train.variables, target.train, TARGET, batch_size=32
    )
    acquire = plugins.load("acquisitions", "k_center")
    free = np.zeros(len(target.id), bool)
    expected = acquire(seen, free, 3, jax.random.key(0)).row
    picks = [pick.id for pick in workdir.read_picks(folder) if pick.round == 0]
    assert picks == target.id[expected].tolist()
    untrained = inference.sweep(
        made.forward, made.train.variables, target.train, TARGET, batch_size=32
    )
    assert not np.array_equal(seen.embedding, untrained.embedding)


def test_a_run_that_stops_between_first_labels_and_round_0_goes_on(
    finished, tmp_path, monkeypatch
):
    made, folder, experiment = finished
    open_store = checkpoint.open_store

    def dying(*args, **kwargs):
        store = open_store(*args, **kwargs)

        def save(tree):
            store.save(tree)
            if getattr(tree, "turn", False) is dying.at:
                raise toy.Killed

        return store._replace(save=save)

    stage = made.pretraining._replace(folder=str(folder / "pretrained"))
    made = made._replace(pretraining=stage)
    monkeypatch.setattr(checkpoint, "open_store", dying)
    for dying.at in (True, False):  # before the first labels are bought, and after
        with pytest.raises(toy.Killed):
            _run(made, tmp_path)
    assert not any(row["event"] == "train" for row in workdir.read(tmp_path))
    dying.at = None
    again = _run(made, tmp_path)
    np.testing.assert_array_equal(again.pools.target, experiment.pools.target)
    assert toy.same(again.train.variables, experiment.train.variables)
    picks = [(place / workdir.PICKS).read_bytes() for place in (tmp_path, folder)]
    assert picks[0] == picks[1]


def test_given_labels_stay_given(vectors, tmp_path):
    made, _ = build.build(_config(vectors, **{"data.shots_per_class": 1}))
    store = checkpoint.Store(lambda tree: None, None)
    act = actions.bind(made, store, tmp_path, run_types.Show())
    begun = actions.begin(made, act)
    assert begun.turn
    assert begun.pools.target.sum() == 3
    loop._select(begun, act, made.policy, made.key)
    picks = workdir.read_picks(tmp_path)
    assert [pick.acquisition for pick in picks] == ["initial"] * 3 + ["k_center"] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrain.steps": 0}, r"'k_center'.*untrained: set pretrain\.steps"),
        ({"pretrain.steps": 0, "policy": "dual"}, r"or policies\.dual\.start='random'"),
        ({"acquisition": "margin", "pretrain.steps": 0}, r"'margin'.*pretrain\.steps"),
        (
            {"acquisition": "aada", "method": "aada"},
            r"'discriminator'.*set policies\.single\.start='random'",
        ),
    ],
)
def test_what_is_untrained_cannot_choose_the_first_labels(vectors, changes, message):
    config = _config(vectors, **changes)
    config.source = "/nowhere"  # nothing is read before this is said
    with pytest.raises(errors.InputError, match=message):
        build.build(config)


@pytest.mark.parametrize(
    "changes", [{"acquisition": "random"}, {"policies.single.initial": 0}]
)
def test_without_a_network_that_ranks_first_none_has_to_be_trained(vectors, changes):
    build.build(_config(vectors, **{"pretrain.steps": 0, **changes}))


def test_stored_vectors_rank_without_a_trained_network(vectors, monkeypatch):
    monkeypatch.setattr(
        plugins.module("acquisitions", "k_center"), "READS", READS, False
    )
    made, _ = build.build(_config(vectors, **{"pretrain.steps": 0}))
    assert made.reads == ((), READS)


def _lab(made, label):
    return actions.lab(made._replace(reads=(READS, READS)), label)


def test_input_is_the_stored_vectors(finished):
    made, _, experiment = finished
    lab = _lab(made, experiment.label)
    for domain, pool in ((SOURCE, made.task.source), (TARGET, made.task.target)):
        seen = lab.sweep(experiment.train.variables, domain)
        stored = np.asarray(pool.train.image).reshape(len(pool.id), -1)
        np.testing.assert_array_equal(seen.input, stored)


def test_fields_that_no_acquisition_reads_are_not_made(finished):
    made, _, experiment = finished
    seen = actions.lab(made, experiment.label).sweep(experiment.train.variables, TARGET)
    assert seen.input is None
    assert seen.bought is None


def test_no_label_but_the_bought_ones_of_the_target_can_be_seen(finished):
    made, _, experiment = finished
    label = experiment.label.copy()
    label[np.flatnonzero(label < 0)[0]] = SKIPPED
    truth = np.asarray(made.task.target.train.label)
    lab = _lab(made, label)
    seen = lab.sweep(experiment.train.variables, TARGET)
    bought = experiment.pools.target
    np.testing.assert_array_equal(seen.bought[bought], truth[bought])
    assert (seen.bought[~bought] == UNLABELED).all()
    assert seen.label is None
    assert lab.sweep(experiment.train.variables, SOURCE).bought is None
    for part in ("train", "val", "test"):  # whatever the others are, it is the same
        other = getattr(made.task.target, part)
        hidden = np.where(bought, truth, 0) if part == "train" else other.label * 0
        target = made.task.target._replace(**{part: other._replace(label=hidden)})
        changed = made._replace(task=made.task._replace(target=target))
        again = _lab(changed, label).sweep(experiment.train.variables, TARGET)
        np.testing.assert_array_equal(again.bought, seen.bought)
    seen.bought[:] = 0  # an acquisition may not write into the run's labels
    assert (label < 0).any()


def test_input_of_images_is_the_network_before_adaptation_computed_once():
    config = files.load("configs/tiny.py:preset=s_act")
    config.acquisition = "k_center"
    made, _ = build.build(config)
    compute, calls = made.forward, []

    def forward(variables, images, domain):
        calls.append(variables)
        return compute(variables, images, domain)

    made = made._replace(forward=forward, reads=((), ("input",)))
    inputs = representation.make_inputs(made)
    label = np.full(len(made.task.target.id), UNLABELED, np.int32)
    lab = actions.lab(made, label, None, inputs)
    adapted = jax.tree.map(lambda leaf: leaf + 0.01, made.train.variables)
    first = lab.sweep(adapted, TARGET)
    before = len(calls)
    second = lab.sweep(adapted, TARGET)
    assert len(calls) - before == before // 2  # the input is not computed again
    assert first.input is second.input
    fixed = inference.sweep(
        made.forward,
        made.train.variables,
        made.task.target.train,
        TARGET,
        batch_size=made.evaluation.batch,
    )
    np.testing.assert_array_equal(first.input, fixed.embedding)
    assert not np.array_equal(first.input, first.embedding)


def test_what_sees_images_before_adaptation_needs_a_trained_network(monkeypatch):
    monkeypatch.setattr(plugins.module("acquisitions", "margin"), "READS", READS, False)
    config = files.load("configs/tiny.py:preset=s_act")
    config.acquisition = "margin"
    with pytest.raises(errors.InputError, match=r"'margin' sees images .* untrained"):
        build.build(config)
    config.pretrain.steps = 10
    config.source = "/nowhere"
    with pytest.raises(errors.InputError, match="nowhere"):
        build.build(config)
