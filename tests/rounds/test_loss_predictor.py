"""The network of D_AcT on a tiny run of vectors."""

import jax
import numpy as np
import pytest

from dact_jax import errors
from dact_jax.configuration import build
from dact_jax.methods import loss_prediction
from dact_jax.rounds import actions
from dact_jax.rounds.loss_predictor import bind
from dact_jax.training import optimizer, schedules
from dact_jax.types import UNLABELED, Pools
from tests import toy

pytestmark = pytest.mark.usefixtures("built_once")


@pytest.fixture(scope="module", autouse=True)
def vectors(tmp_path_factory):
    return tmp_path_factory.mktemp("loss_predictor")


def _made(vectors, **changes):
    return build.build(toy.vector_config(vectors, "d_act", **changes))[0]


def _with_learning_rate(made, learning_rate):
    """The run whose loss predictor learns faster than any config may ask for."""

    def make(num_steps):
        return optimizer.sgd(schedules.make("constant", learning_rate, num_steps))

    stage = made.loss_predictor
    predictor_run = stage.run._replace(optimizer=make)
    return made._replace(loss_predictor=stage._replace(run=predictor_run))


def _none(made):
    return Pools(
        np.zeros(len(made.task.source.train.label), bool),
        np.zeros(len(made.task.target.train.label), bool),
    )


def _truth(made):
    return np.asarray(made.task.target.train.label)


def test_it_starts_from_the_encoder_of_the_run_with_heads_of_its_own(vectors):
    made = _made(vectors, **{"model.num_norms": 2})
    start = bind(made)(_truth(made)).initial
    first = made.train.variables
    assert toy.same(start.params["encoder"], first.params["encoder"])
    assert set(start.params) == {"encoder", "classifier", "predicted_loss"}
    for leaf in jax.tree.leaves((start.norm, start.stats)):
        assert len(leaf) == 1  # one domain: the union of both


@pytest.mark.parametrize("target_loss", ["brier", "cross_entropy"])
def test_a_sweep_tells_each_sample_s_own_loss(vectors, target_loss):
    changes = {"methods.loss_prediction.target_loss": target_loss}
    made = _made(vectors, **changes)
    predictor = bind(made)(_truth(made))
    found = predictor.sweep(predictor.initial)
    label = np.asarray(made.task.source.train.label)
    own = loss_prediction.TARGET_LOSSES[target_loss](found.outputs["classifier"], label)
    np.testing.assert_allclose(found.outputs["actual_loss"], own, rtol=1e-6)
    assert found.outputs["predicted_loss"].shape == label.shape
    np.testing.assert_array_equal(found.label, label)


def test_it_learns_from_the_samples_that_it_is_given(vectors, key):
    made = _made(vectors, **{"loss_predictor.steps": 60})
    predictor = bind(made)(_truth(made))
    pools = _none(made)
    pools.target[:] = True
    trained, losses = predictor.fit(predictor.initial, pools, key)
    assert set(losses) == {"loss", "target_loss", "ranking_loss"}
    before, after = (
        predictor.accuracy(variables) for variables in (predictor.initial, trained)
    )
    assert after > before
    assert after >= 0.8
    # What it started from is still there: fit takes a copy.
    assert np.isfinite(np.asarray(jax.tree.leaves(predictor.initial)[0])).all()


def test_a_label_outside_the_union_changes_nothing(vectors, key):
    made = _made(vectors)
    pools = _none(made)
    pools.source[:20] = True
    pools.target[:5] = True
    truth = _truth(made)
    known = np.where(pools.target, truth, UNLABELED).astype(np.int32)
    other = np.where(pools.target, truth, (truth + 1) % 3).astype(np.int32)
    one, two = (
        bind(made)(label).fit(bind(made)(label).initial, pools, key)
        for label in (known, other)
    )
    assert toy.same(one, two)
    inside = np.where(pools.target, (truth + 1) % 3, UNLABELED).astype(np.int32)
    three = bind(made)(inside).fit(bind(made)(inside).initial, pools, key)
    assert not toy.same(one, three)


def test_training_is_a_function_of_the_key(vectors, key):
    made = _made(vectors)
    pools = _none(made)
    pools.source[::2] = True
    predictor = bind(made)(_truth(made))
    one, same = (predictor.fit(predictor.initial, pools, key) for _ in range(2))
    other = predictor.fit(predictor.initial, pools, jax.random.key(9))
    assert toy.same(one, same)
    assert not toy.same(one, other)


def test_from_the_disk_as_from_the_device(vectors, key):
    found = {}
    for size in (0, 2**30):
        made = _made(vectors, **{"data.device_bytes": size})
        predictor = bind(made)(_truth(made))
        pools = _none(made)
        pools.source[:30] = pools.target[:10] = True
        found[size] = predictor.fit(predictor.initial, pools, key)
    for one, other in zip(*map(jax.tree.leaves, found.values()), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_loss_that_becomes_nan_is_told_by_its_field(vectors, key):
    made = _with_learning_rate(_made(vectors), 1e30)
    predictor = bind(made)(_truth(made))
    pools = _none(made)
    pools.source[:] = True
    with pytest.raises(errors.DivergedError, match=r"loss_predictor\.learning_r"):
        predictor.fit(predictor.initial, pools, key)


def test_runs_that_choose_no_source_have_none(vectors):
    made = build.build(toy.vector_config(vectors, "s_act"))[0]
    assert made.loss_predictor is None
    assert actions.lab(made, _truth(made)).loss_predictor is None


def test_without_validation_labels_nothing_is_decided(vectors):
    with pytest.raises(errors.InputError, match=r"decides by labelled validation"):
        _made(vectors, **{"data.val_per_class": 0})


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("source_acquisition", "aada", "'mhp', 'predicted_loss', 'prob_cover'"),
        ("source_acquisition", "predicted", "did you mean 'predicted_loss'?"),
        (
            "loss_predictor.steps",
            0,
            "loss_predictor.steps=0 must be a whole number from 1",
        ),
        (
            "loss_predictor.batch",
            0,
            "loss_predictor.batch=0 must be a whole number from 1",
        ),
        ("loss_predictor.batch", 7, "loss_predictor.batch=7 must be even"),
        ("policies.dual.trial", "hot", "policies.dual.trial='hot'"),
        ("data.labelled_list", "l.txt", "leave data.labelled_list, data.val_list"),
        ("loss_predictor.schedule", "slow", "loss_predictor.schedule='slow'"),
        ("policies.dual.source_rounds", 40, "half of the source in 40 rounds"),
        ("policies.dual.source_per_round", 50, "2 x 50 = 100 source samples"),
        ("policies.dual.initial", 0, "set policies.dual.initial"),
        ("acquisitions.predicted_loss.score", "loss", "predicted_loss.score='loss'"),
        ("methods.loss_prediction.target_loss", "l2", "target_loss='l2'"),
    ],
)
def test_bad_values_are_told_before_any_training(vectors, field, value, told):
    with pytest.raises(errors.InputError) as caught:
        actions.template(_made(vectors, **{field: value}))
    assert told in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("learning_rate", [1e30, 1e38])
def test_one_step_that_overflows_is_told_too(vectors, key, learning_rate):
    made = _made(vectors, **{"loss_predictor.steps": 1})
    made = _with_learning_rate(made, learning_rate)
    predictor = bind(made)(_truth(made))
    pools = _none(made)
    pools.source[:] = True
    with pytest.raises(
        errors.DivergedError, match=r"loss predictor.*loss_predictor\.learni"
    ):
        predictor.fit(predictor.initial, pools, key)


def test_it_may_be_asked_for_what_its_classifier_sees(vectors, key):
    changes = {
        "source_acquisition": "k_center",
        "acquisitions.k_center.features": "head",
    }
    made = _made(vectors, **changes)
    predictor = bind(made)(_truth(made))
    outputs = predictor.sweep(predictor.initial).outputs
    assert "classifier.features" in outputs


def test_targets_are_ranked_by_what_needs_no_label(vectors):
    changes = {
        "policy": "single",
        "method": "loss_prediction",
        "acquisition": "predicted_loss",
    }
    for wrong in (
        {},
        {
            "acquisitions.predicted_loss.score": "pred",
            "acquisitions.predicted_loss.classes": "balanced",
        },
    ):
        with pytest.raises(errors.InputError, match=r"score='pred'.*classes='any'"):
            _made(vectors, **changes, **wrong)
    _made(vectors, **changes, **{"acquisitions.predicted_loss.score": "pred"})
    with pytest.raises(errors.InputError, match=r"'mme' .*: 'loss_prediction'\."):
        _made(
            vectors,
            **{**changes, "method": "mme", "acquisitions.predicted_loss.score": "pred"},
        )
    with pytest.raises(errors.InputError, match=r"'loss_prediction' trains no batch n"):
        _made(
            vectors, policy="fixed", method="loss_prediction", **{"model.num_norms": 2}
        )
