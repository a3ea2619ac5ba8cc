"""What a round does, on the tiny config without any training."""

import jax
import numpy as np
import pytest

from dact_jax import run_types
from dact_jax.configuration import build, files
from dact_jax.rounds import actions, checkpoint, workdir
from dact_jax.types import SOURCE, TARGET, UNLABELED
from tests import toy


@pytest.fixture(scope="module", autouse=True)
def vectors(tmp_path_factory):
    """A folder of data of which a run is compiled in no time."""
    return tmp_path_factory.mktemp("actions")


def _begin(tmp_path, preset, **changes):
    config = files.load(f"configs/tiny.py:preset={preset}")
    config.update_from_flattened_dict(changes)
    made, _ = build.build(config)
    store = checkpoint.open_store(tmp_path / "checkpoints")
    show = run_types.Show()
    act = actions.bind(made, store, tmp_path, show)
    experiment = actions.begin(made, act)
    return made, act, experiment


@pytest.mark.parametrize("transductive_set", ["all", "test"])
def test_transductive_runs_are_measured_on_what_they_adapt_to(
    tmp_path, transductive_set
):
    changes = {"data.transductive_set": transductive_set}
    made, act, experiment = _begin(tmp_path, "s_act_star", **changes)
    row = act.measure(experiment)
    assert (row["labels_target"], row["labels_val"]) == (10, 30)
    target = made.task.target
    if transductive_set == "test":
        assert made.task.unlabeled is target.test
        assert len(target.test.label) == 599
        assert row["test_accuracy"] * 599 == pytest.approx(
            round(row["test_accuracy"] * 599)
        )
        return
    seen = actions.lab(made, experiment.label).sweep(experiment.train.variables, TARGET)
    # All of the target but T_v is the pool; its labelled part is not measured.
    assert len(target.train.label) == 1797 - 30
    guess = seen.outputs["classifier"].argmax(-1)
    rest = ~experiment.pools.target
    expected = np.mean(guess[rest] == np.asarray(target.train.label)[rest])
    assert row["test_accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("optimizer", [False, True])
def test_what_a_round_takes_over_from_the_last(tmp_path, weights, optimizer):
    changes = {"train.carry_weights": weights, "train.carry_optimizer": optimizer}
    made, act, experiment = _begin(tmp_path, "s_act", **changes)
    trained = jax.tree.map(lambda leaf: leaf + 1, experiment.train)
    fresh = act.restart(trained)

    def leaf(state):
        return state.variables.params["encoder"]["conv1"]["kernel"]

    assert fresh.step == 0
    expected = leaf(trained if weights else made.train)
    np.testing.assert_array_equal(leaf(fresh), expected)
    momentum, last, first = (
        jax.tree.leaves(state.opt_state) for state in (fresh, trained, made.train)
    )
    for new, old in zip(momentum, last if optimizer else first, strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_sweep_hides_target_labels_and_shows_source_labels(tmp_path):
    made, _, experiment = _begin(tmp_path, "s_act")
    lab = actions.lab(made, experiment.label)
    assert lab.sweep(experiment.train.variables, TARGET).label is None
    shown = lab.sweep(experiment.train.variables, SOURCE).label
    np.testing.assert_array_equal(shown, made.task.source.train.label)


def test_first_picks_and_labels_are_recorded(tmp_path):
    made, _, experiment = _begin(tmp_path, "s_act")
    picks = workdir.read_picks(tmp_path)
    assert {pick.acquisition for pick in picks} == {"initial"}
    rows = np.flatnonzero(experiment.pools.target)
    assert {pick.id for pick in picks} == set(made.task.target.id[rows].tolist())
    known = experiment.label != UNLABELED
    np.testing.assert_array_equal(known, experiment.pools.target)


def test_presets_differ_in_what_they_say_only(tmp_path):
    """S_AcT and its twin begin alike: same split, first labels and weights."""
    made, _, active = _begin(tmp_path / "a", "s_act")
    twin, _, random = _begin(tmp_path / "b", "s_rt")
    np.testing.assert_array_equal(made.task.target.id, twin.task.target.id)
    np.testing.assert_array_equal(active.pools.target, random.pools.target)
    for one, other in zip(
        active.train.variables.params["encoder"]["conv1"].values(),
        random.train.variables.params["encoder"]["conv1"].values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_a_given_set_is_labelled_for_free(tmp_path):
    made, _, experiment = _begin(tmp_path, "mme")
    label = np.asarray(made.task.target.train.label)[experiment.pools.target]
    assert np.bincount(label).tolist() == [3] * 10


def _trained(vectors, folder, preset="source_only", *, method=None, **changes):
    """A run and its experiment after round 0."""
    made, _ = build.build(toy.vector_config(vectors, preset, **changes))
    if method is not None:
        made = made._replace(method=method(made.method))
    store = checkpoint.Store(lambda tree: None, None)
    show = run_types.Show()
    act = actions.bind(made, store, folder, show)
    return made, act, act.adapt(actions.begin(made, act))


@pytest.mark.parametrize(("until", "first"), [(0, 4), (16, 16)])
def test_progress_ends_with_the_round_or_where_the_config_says(
    vectors, tmp_path, until, first
):
    changes = {"train.chunk": 1, "train.first_steps": 4, "train.progress_steps": until}

    def seen(method):
        def loss(model, variables, batch, key, progress):
            value, (variables, _) = method.losses[0](
                model, variables, batch, key, progress
            )
            return value, (variables, {"progress": progress})

        return method._replace(losses=(loss,))

    _, act, done = _trained(vectors, tmp_path, "s_act", method=seen, **changes)
    act.adapt(done._replace(round=1, train=act.restart(done.train)))
    expected = [step / first for step in range(4)]
    expected += [step / (until or 8) for step in range(8)]
    assert [row["progress"] for row in workdir.read(tmp_path)] == expected


def _moves(made, done):
    """Group -> how far each of its parameters moved from the start."""
    old, new = made.train.variables, done.train.variables
    moved = jax.tree.map(lambda a, b: np.abs(np.asarray(a - b)), new.params, old.params)
    return {
        name: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(group)])
        for name, group in moved.items()
    }


ONE_STEP = {"train.steps": 1, "train.weight_decay": 0.0, "train.learning_rate": 1e-3}


def test_multipliers_of_the_learning_rate(vectors, tmp_path):
    """Adam's first step is the learning rate, whatever the gradient."""
    changes = {
        "model.batch_norm": False,
        "train.optimizer": "adam",
        "train.multipliers.encoder": 0.5,
        "train.multipliers.classifier": 4.0,
    }
    moved = _moves(*_trained(vectors, tmp_path, **ONE_STEP, **changes)[::2])
    for name, far in (("encoder", 5e-4), ("classifier", 4e-3)):
        reached = moved[name][moved[name] > 0]  # not at a unit that is off
        assert len(reached) > len(moved[name]) / 2
        np.testing.assert_allclose(reached, far, rtol=0.01)


def test_a_multiplier_of_0_freezes(vectors, tmp_path):
    changes = {"train.multipliers.encoder": 0.0}
    made, _, done = _trained(vectors, tmp_path, **ONE_STEP, **changes)
    moved = _moves(made, done)
    assert not moved["encoder"].any()
    assert moved["classifier"].any()
    assert toy.same(done.train.variables.norm, made.train.variables.norm)


def test_domains_may_share_all_but_the_moments(vectors, tmp_path):
    changes = {"model.num_norms": 2, "model.shared_affine": True}
    _, _, done = _trained(vectors, tmp_path, "s_act", **changes)
    variables = done.train.variables
    assert {len(leaf) for leaf in jax.tree.leaves(variables.norm)} == {1}
    for leaf in jax.tree.leaves(variables.stats):
        assert len(leaf) == 2
        assert np.abs(leaf[SOURCE] - leaf[TARGET]).max() > 0
