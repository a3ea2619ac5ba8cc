import jax
import numpy as np
import pytest

from dact_jax.geometry import distances
from tests.geometry.reference import squared_distances


def test_products_ask_for_the_highest_precision():
    a = np.ones((3, 4), np.float32)
    for b in (a.T, a[0]):
        (product,) = jax.make_jaxpr(distances.product)(a, b).eqns
        assert set(product.params["precision"]) == {jax.lax.Precision.HIGHEST}


@pytest.mark.parametrize("width", [3, 100])  # below and above the width of a sum
def test_pairwise_distances(width):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(n, width)).astype(np.float32) for n in (7, 9))
    squared = np.asarray(distances.pairwise(a, b))
    np.testing.assert_allclose(squared, squared_distances(a, b), rtol=1e-4)
    assert (np.asarray(distances.pairwise(a, a)) >= 0).all()


def test_a_frame_holds_its_sample_and_rounds_nothing():
    rng = np.random.default_rng(0)
    sample = (1000 + 50 * rng.normal(size=(300, 4))).astype(np.float32)
    frame = distances.make_frame(sample)
    placed = (sample.astype(np.float64) - frame.origin) * frame.scale
    assert np.abs(placed).max() <= 1
    assert np.frexp(frame.scale)[0] == 0.5  # a power of two
    small = distances.make_frame(1e-3 * (sample - 1000))
    assert small.scale == 1  # never enlarged
