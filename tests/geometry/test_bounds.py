import numpy as np

from dact_jax.geometry import bounds, nearest


def test_a_former_nearest_center_stays_a_lower_bound():
    """Its distance may exceed the exact one by twice the error among candidates."""
    known = bounds.make(1, np.zeros(0, int))
    known.bound[:], known.center[:], known.compared[:] = 0.25 + 1e-9, 3, 4
    nearer = nearest.TwoNearest(*(np.array([x]) for x in (0.1, 4, 0.5)))
    options = {"all_cells": True, "width": 1, "mode": "differences", "error": 1e-9}
    bounds.record_comparison(known, np.zeros(1, int), nearer, 5, **options)
    assert known.center[0] == 4
    assert 0.25 - 2e-9 < known.others[0] <= 0.25 - 1e-9


def test_the_largest_bounds_are_selected():
    """Whatever the sample of them suggests about the others."""
    for seed in range(600):
        rng = np.random.default_rng(seed)
        bound = rng.random(rng.integers(1, 3000))
        if seed % 3 == 0:
            bound = np.round(bound * rng.integers(1, 6))
        if seed % 4 == 0:
            bound[rng.random(len(bound)) < 0.7] = -1
        if seed % 5 == 0:
            bound[:: bounds._STRIDE] = rng.choice([-1, 2])
        size = int(rng.integers(1, len(bound) + 1))
        order = np.lexsort([np.arange(len(bound)), -bound])[:size]
        assert bounds._largest(bound, size).tolist() == sorted(order.tolist())
