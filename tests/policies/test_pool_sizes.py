"""Pools that are too small for a policy are named before any work."""

import pytest

from dact_jax import errors
from dact_jax.policies import single


def _check(**sizes):
    single.check_pools(
        **{"num_target": 20, "num_free": 18, "num_given": 2} | sizes,
        initial=3,
        per_round=5,
        purchases=3,
    )


def test_more_labels_than_the_training_pool_has():
    _check(num_given=1)
    with pytest.raises(errors.InputError) as told:
        _check(num_free=17)
    parts = (
        "3 + 3 x 5 = 18 ",
        "17 of the 20 images in the target's training pool",
        "data.test_fraction",
    )
    assert all(part in str(told.value) for part in parts), told.value


def test_some_images_stay_without_a_label():
    with pytest.raises(errors.InputError, match="all 20 target images"):
        _check(num_given=2, num_free=18)
