"""What a round does, on the tiny config without any training."""

import jax
import numpy as np
import pytest

from dact_jax import build, checkpoint, config as defaults, engine, progress, workdir
from dact_jax.types import SOURCE, TARGET, UNLABELED


def _begin(tmp_path, preset, **changes):
    config = defaults.load(f"configs/tiny.py:preset={preset}")
    config.update_from_flattened_dict(changes)
    made, _ = build.build(config)
    store = checkpoint.open_store(tmp_path / "checkpoints")
    show = progress.Show(lambda *args: None, lambda row: None)
    act = engine.actions(made, store, tmp_path, show)
    experiment = engine.begin(made, act)
    store.close()
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
    seen = engine.lab(made).sweep(experiment.train.variables, TARGET)
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
    lab = engine.lab(made)
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
