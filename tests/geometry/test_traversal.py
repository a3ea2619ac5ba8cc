"""The state of a selection: centers, and what remains when precision increases."""

import jax
import numpy as np

from dact_jax.geometry import comparisons, points, traversal
from tests.geometry import reference


def test_more_precise_modes_keep_centers_and_discard_bounds():
    pool = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    view = points.make(pool, mesh=reference.first_devices(1))
    with jax.enable_x64(True):
        state = traversal.start(view, np.array([3, 5]), 9, reference.TINY)
        comparisons.compare_all(state)
        assert np.isfinite(state.bounds.bound).all()
        candidates, picked = np.array([7, 11, 13, 17, 19, 23], np.int32), np.array([2])
        held = view.read_replicated(candidates)
        state = traversal.add_centers(state, candidates, held, picked)
        assert state.row[: state.num].tolist() == [3, 5, 13]
        for mode in ("float64", "differences"):
            state = traversal.increase_precision(state)
            assert state.mode == mode
            assert state.row[: state.num].tolist() == [3, 5, 13]
            factor = np.asarray(state.centers.factor, np.float64)[:3]
            placed = factor / -2 / np.float64(state.frame.scale)
            origin = np.asarray(state.frame.origin, np.float64)
            np.testing.assert_allclose(placed + origin, pool[[3, 5, 13]], rtol=1e-12)
            assert np.isinf(np.asarray(state.centers.squared_norm)[3:]).all()
            assert np.isinf(np.delete(state.bounds.bound, [3, 5])).all()
            assert (state.bounds.bound[[3, 5]] == -1).all()
            assert (state.bounds.compared == 0).all()


def test_arrays_have_room_for_a_power_of_two_of_centers():
    pool = np.zeros((50, 2), np.float32) + np.arange(50, dtype=np.float32)[:, None]
    view = points.make(pool, mesh=reference.first_devices(1))
    with jax.enable_x64(True):
        for budget, room in ((9, 64), (49, 64), (60, 128)):
            state = traversal.start(view, np.array([3]), budget, reference.TINY)
            assert len(state.row) == len(state.point) == room
            assert len(state.centers.factor) == room
