import jax
import numpy as np
import pytest

from dact_jax import errors, plugins
from dact_jax.types import TARGET, Acquisitions, Evidence, Lab

UNLABELLED_POOL = np.zeros(30, bool)


def _lab(buyable=None):
    points = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)

    def sweep(variables, domain):
        assert domain == TARGET
        return Evidence(points, {}, None)

    return Lab(sweep, np.ones(30, bool) if buyable is None else buyable)


def _single(labelled=UNLABELLED_POOL, **options):
    acquire = plugins.load("acquisitions", "k_center")
    acquire = Acquisitions(target=acquire, source=None)
    return plugins.load("policies", "single", acquire, labelled, **options)


def test_single_spends_what_table_6_says(key):
    policy = _single(initial=4, per_round=3, purchases=2)
    assert (policy.num_rounds, policy.num_selections) == (3, 2)
    selection = policy.init(_lab(), 7, 30, key)
    assert selection.pools.source.all()
    assert selection.pools.target.sum() == 4
    for spent in (7, 10):
        selection = policy.select(_lab(), None, selection.pools, selection.memory, key)
        assert selection.pools.target.sum() == spent


def test_without_final_training_the_run_ends_with_a_purchase():
    policy = _single(purchases=3, final_training=False)
    assert (policy.num_rounds, policy.num_selections) == (3, 3)


def test_labelled_samples_are_the_centers(key):
    policy = _single(initial=0, per_round=1, purchases=1, labelled=np.arange(30) == 4)
    selection = policy.init(_lab(), 7, 30, key)
    picked = policy.select(_lab(), None, selection.pools, (), key).picked["target"]
    points = _lab().sweep(None, TARGET).embedding
    far = np.linalg.norm(points - points[4], axis=-1)
    assert picked.row.tolist() == [far.argmax()]
    np.testing.assert_allclose(picked.score, far.max(), rtol=1e-6)


def test_first_labels_depend_on_the_key_alone(key):
    policy = _single(initial=5, per_round=1, purchases=1)
    one, same = (policy.init(_lab(), 7, 30, key).pools.target for _ in range(2))
    other = policy.init(_lab(), 7, 30, jax.random.key(1)).pools.target
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_a_budget_larger_than_the_pool_is_rejected(key):
    policy = _single(initial=9, per_round=10, purchases=2)
    policy.init(_lab(), 7, 30, key)  # one is left to adapt to
    with pytest.raises(
        errors.InputError, match=r"policies\.single .*= 29 .* 28 of the 30"
    ):
        policy.init(_lab(np.arange(30) > 1), 7, 30, key)
    policy = _single(initial=10, per_round=10, purchases=2)
    with pytest.raises(errors.InputError, match=r"policies\.single .* 30 "):
        policy.init(_lab(), 7, 30, key)


def test_a_negative_number_is_rejected():
    with pytest.raises(errors.InputError, match=r"policies\.single\.per_round=-1"):
        _single(per_round=-1)


def test_fixed_buys_nothing(key):
    labelled = np.arange(30) % 3 == 0
    policy = plugins.load("policies", "fixed", None, labelled)
    selection = policy.init(_lab(), 7, 30, key)
    np.testing.assert_array_equal(selection.pools.target, labelled)
    assert (policy.num_rounds, policy.num_selections) == (1, 0)
