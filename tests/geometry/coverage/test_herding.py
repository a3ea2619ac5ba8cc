import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import dact_jax
from dact_jax import errors
from dact_jax.geometry.coverage import greedy, herding, kernels, on_host, targets
from tests.geometry.coverage import oracle
from tests.geometry.reference import first_devices

KERNELS = {"gaussian": 2.0, "top_hat": 2.0, "cosine": None}


@pytest.fixture(params=["host", "device", "devices", "resident"])
def herd(request, monkeypatch):
    """`herding.select` in NumPy, on one device, on two, and with its rows on two."""
    if request.param == "host":
        return functools.partial(herding.select, mesh=first_devices(1))
    monkeypatch.setattr(herding, "ON_HOST", 0)
    if request.param == "device":
        monkeypatch.setattr(targets.Targets, "on_host", property(lambda _: False))
        return functools.partial(herding.select, mesh=first_devices(1))
    resident = request.param == "resident"
    return functools.partial(herding.select, mesh=first_devices(2), resident=resident)


@pytest.mark.parametrize("kernel", KERNELS)
def test_equals_greedy_in_float64(herd, kernel):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(151, 5)).astype(np.float32)
    points[140:] = points[30:41]  # copies
    weight, scale = rng.random(151), KERNELS[kernel]
    labelled = [7, 40, 8, 140]
    k = oracle.similarity(points, kernel, scale)
    picks, gains = oracle.greedy(k, 40, weight, labelled)
    picked = herd(
        points, 40, weights=weight, labelled=labelled, kernel=kernel, scale=scale
    )
    assert picked.row.tolist() == picks
    np.testing.assert_allclose(picked.score, gains, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_first_pick_needs_no_labelled_row(herd, kernel):
    points = np.random.default_rng(1).normal(size=(151, 5)).astype(np.float32)
    k = oracle.similarity(points, kernel, KERNELS[kernel])
    picks, _ = oracle.greedy(k, 12, np.ones(151))
    picked = herd(points, 12, kernel=kernel, scale=KERNELS[kernel])
    assert picked.row.tolist() == picks


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_small_pools_of_any_form(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    num, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 5))
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64, np.int64]))
    spread = data.draw(st.sampled_from([1, 3]))
    if dtype == np.int64 or data.draw(st.booleans()):  # a grid: copies and ties
        points = rng.integers(-spread, spread + 1, (num, width)).astype(dtype)
    else:
        points = (spread * rng.normal(size=(num, width))).astype(dtype)
    kernel = data.draw(st.sampled_from(sorted(KERNELS)))
    scale = data.draw(st.sampled_from([0.3, 1.0, 2.0**0.5, 5.0]))
    if kernel == "cosine":
        scale = None
    elif dtype in (np.float64, np.int64) and data.draw(st.booleans()):
        points = points + dtype(2**20)  # far away: digits of float32 do not suffice
    labelled = rng.permutation(num)[: rng.integers(0, num // 2 + 1)]
    budget = int(rng.integers(0, num - len(labelled) + 1))
    weight = rng.random(num) if data.draw(st.booleans()) else np.ones(num)
    picks, _ = oracle.greedy(
        oracle.similarity(points, kernel, scale), budget, weight, labelled
    )
    found = herding.herd(
        points, budget, weights=weight, labelled=labelled, kernel=kernel, scale=scale
    )
    assert found.tolist() == picks


@pytest.mark.parametrize("kernel", ["gaussian", "top_hat", "cosine"])
def test_many_blocks_and_tiles(monkeypatch, kernel):
    rng = np.random.default_rng(3)
    centers = 3 * rng.normal(size=(12, 16))
    points = centers[rng.integers(0, 12, 1500)] + rng.normal(size=(1500, 16))
    points = points.astype(np.float32)
    scale = {"gaussian": None, "top_hat": 5.0, "cosine": None}[kernel]
    used = scale or oracle.median_distance(points[:1024]) * (kernel == "gaussian")
    if kernel == "gaussian":
        scale = used
    k = oracle.similarity(points, kernel, used)
    picks, _ = oracle.greedy(k, 60, np.ones(1500))
    monkeypatch.setattr(herding.greedy.pairs, "_TILE", 256)
    monkeypatch.setattr(herding.greedy.pairs, "_STRIP", 64)
    monkeypatch.setattr(on_host, "_NUMBERS", 2**13)
    assert herding.herd(points, 60, kernel=kernel, scale=scale).tolist() == picks


def test_few_gains_are_computed(monkeypatch):
    """What makes it lazy: after the first pass, a few percent of all gains a pick."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(3000, 8)).astype(np.float32)
    computed, exact = on_host.gains, []
    bounded = []

    def count(state, at, *args):
        bounded.append(len(at))
        return computed(state, at, *args)

    def count_exact(state, at, *args):
        exact.append(len(at))
        return compute_exactly(state, at, *args)

    compute_exactly = on_host.exact_gains
    monkeypatch.setattr(on_host, "gains", count)
    monkeypatch.setattr(on_host, "exact_gains", count_exact)
    herding.herd(points, 40)
    assert sum(bounded) < 40 * 3000 / 10
    assert sum(exact) < 40 * 8


@pytest.mark.parametrize(("kernel", "most"), [("top_hat", 200), ("gaussian", 2500)])
def test_points_far_from_each_other_are_not_computed_at_every_pick(
    monkeypatch, kernel, most
):
    points = np.arange(2000.0)[:, None] * 100
    computed, exact = [], on_host.exact_gains

    def count(state, at, *args):
        computed.append(len(at))
        return exact(state, at, *args)

    monkeypatch.setattr(on_host, "exact_gains", count)
    picked = herding.herd(points, 20, kernel=kernel, scale=1.0)
    assert picked.tolist() == list(range(20))
    assert sum(computed) <= most
    assert len(computed) <= 50


def test_a_wrong_guess_of_the_first_pick_changes_nothing(monkeypatch):
    points = np.random.default_rng(5).normal(size=(400, 4)).astype(np.float32)
    right = herding.herd(points, 10)
    monkeypatch.setattr(greedy, "_guess", lambda search: 17)
    assert right[0] != 17
    np.testing.assert_array_equal(herding.herd(points, 10), right)


def test_points_with_great_errors_of_products_are_multiplied_in_float64():
    rng = np.random.default_rng(6)
    far = 1e3 * rng.normal(size=(6, 1, 20)) + 1e-2 * rng.normal(size=(6, 30, 20))
    points = far.reshape(-1, 20).astype(np.float32)
    k = oracle.similarity(points, "gaussian", 0.05)
    picks, _ = oracle.greedy(k, 50, np.ones(180))
    assert herding.herd(points, 50, scale=0.05).tolist() == picks


def test_bounds_are_never_below_the_gains():
    rng = np.random.default_rng(7)
    points = (rng.normal(size=(300, 30)) + 5).astype(np.float32)
    weight, coverage = rng.random(300), 0.5 * rng.random(300)
    for name, scale in (("gaussian", 8.0), ("top_hat", 7.5), ("cosine", 1.0)):
        with jax.enable_x64(True):
            pool = herding.points.make(points, mesh=first_devices(1), precise=True)
            state = targets.make(pool, kernels.make(name, scale, points), weight)
        k = oracle.similarity(points, name, scale)
        gain = weight @ np.maximum(k - coverage[:, None], 0) / weight.max()
        every = np.arange(300)
        for mode in ("float32", "float64"):
            bound = on_host.gains(state, every, coverage, mode)
            exact = on_host.exact_gains(state, every, coverage, mode)
            np.testing.assert_allclose(exact, gain, rtol=1e-11, atol=1e-11)
            assert (bound >= exact).all()
            if name != "top_hat":
                np.testing.assert_allclose(bound, gain, rtol=2e-2)


def test_copies_of_a_row_count_as_often_as_they_are():
    points = np.repeat(np.array([[0.0], [10.0], [20.0]], np.float32), [2, 5, 3], 0)
    picked = herding.select(points, 10, scale=1.0)
    assert picked.row.tolist() == [2, 7, 0, 1, 3, 4, 5, 6, 8, 9]
    np.testing.assert_allclose(picked.score, [5, 3, 2] + 7 * [0], atol=1e-6)


def test_weights_of_zero_and_rows_that_are_all_equal():
    points = np.arange(5.0)[:, None]
    assert herding.herd(points, 3, weights=np.zeros(5)).tolist() == [0, 1, 2]
    assert herding.herd(np.ones((4, 2)), 4).tolist() == [0, 1, 2, 3]
    assert herding.herd(np.zeros((4, 2)), 2, kernel="cosine").tolist() == [0, 1]


def test_the_scale_is_the_median_distance_by_default():
    points = np.random.default_rng(8).normal(size=(90, 3)).astype(np.float32)
    scale = oracle.median_distance(points)
    picked, given_scale = (herding.select(points, 20, scale=s) for s in (None, scale))
    np.testing.assert_array_equal(picked.row, given_scale.row)
    np.testing.assert_allclose(picked.score, given_scale.score, rtol=1e-5)


def test_a_pool_on_disk_and_every_form_of_features(tmp_path):
    points = np.random.default_rng(9).normal(size=(80, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", points)
    expected = dact_jax.herd(points, 9).tolist()
    forms = (
        np.load(tmp_path / "x.npy", mmap_mode="r"),
        jnp.asarray(points),
        np.asfortranarray(points),
        points.tolist(),
    )
    for form in forms:
        assert dact_jax.herd(form, 9).tolist() == expected
    labelled = np.zeros(80, bool)
    labelled[expected[:4]] = True
    assert dact_jax.herd(points, 5, labelled=labelled).tolist() == expected[4:]


def test_progress_is_reported():
    points = np.random.default_rng(10).normal(size=(50, 2))
    told = []
    herding.herd(points, 6, report_progress=lambda *done: told.append(done))
    assert told[0] == (0, 6)
    assert told[-1] == (6, 6)
    assert told == sorted(told)


@pytest.mark.parametrize("unit", [1e-40, 1e-25, 1e-15, 1e15])
@pytest.mark.parametrize("kernel", ["gaussian", "top_hat"])
def test_picks_do_not_depend_on_the_unit_of_the_features(herd, kernel, unit):
    points = np.random.default_rng(12).normal(size=(60, 3))
    picks, gains = oracle.greedy(oracle.similarity(points, kernel, 1.5), 8, np.ones(60))
    picked = herd(unit * points, 8, kernel=kernel, scale=1.5 * unit)
    assert picked.row.tolist() == picks
    np.testing.assert_allclose(picked.score, gains, rtol=1e-5)


@pytest.mark.parametrize("seed", [4, 6, 8, 15])
def test_rows_tie_with_the_largest_gain_and_not_with_its_bound(seed):
    """Directions far from 0 nearly agree: gains are almost as small as what ties."""
    rng = np.random.default_rng(seed)
    points = (1000 + rng.normal(size=(600, 2))).astype(np.float32)
    weight, labelled = rng.random(600), [0, 1, 2]
    k = oracle.similarity(points, "cosine", None)
    picks, _ = oracle.greedy(k, 12, weight, labelled)
    picked = herding.herd(
        points, 12, weights=weight, labelled=labelled, kernel="cosine"
    )
    assert picked.tolist() == picks


def test_of_a_larger_pool_rows_are_drawn():
    rng = np.random.default_rng(11)
    points = rng.normal(size=(500, 3)).astype(np.float32)
    weight = rng.random(500)
    weight[::7] = 0
    labelled = np.arange(0, 500, 50)
    scale = oracle.median_distance(points)
    k = oracle.similarity(points, "gaussian", scale)
    ask = functools.partial(
        herding.herd, points, 10, weights=weight, labelled=labelled, scale=scale
    )
    drawn, exact = ask(max_rows=150), ask()
    assert len(set(drawn.tolist())) == 10
    assert not set(drawn.tolist()) & set(labelled.tolist())

    def gained(rows):
        before = k[:, labelled].max(1)
        return weight @ (np.maximum(before, k[:, rows].max(1)) - before)

    assert gained(exact) > gained(drawn) > 0.85 * gained(exact)


def test_a_draw_has_enough_rows_whatever_the_weights_are():
    weight = np.zeros(100)
    weight[40] = 1
    points = np.arange(100.0)[:, None]
    picked = herding.herd(points, 20, weights=weight, max_rows=20, scale=1.0)
    assert len(set(picked.tolist())) == 20
    assert picked[0] == 40


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"budget": 7}, "budget=7"),
        ({"budget": -1}, "budget=-1"),
        ({"budget": 1.5}, "budget must be an integer"),
        ({"features": np.ones((6, 2, 2))}, "features"),
        ({"features": np.array([[1.0], [np.nan], [2.0]])}, "row 1"),
        ({"weights": np.ones(5)}, "weights"),
        ({"weights": [1, 1, -1, 1, 1, 1]}, "row 2"),
        ({"weights": [1, np.inf, 1, 1, 1, 1]}, "row 1"),
        ({"weights": [1, 1, 1e308, 1e308, 1, 1]}, "row 2"),
        ({"labelled": [9]}, "labelled: 9"),
        ({"kernel": "rbf"}, "kernel"),
        ({"scale": 0.0}, "scale=0.0"),
        ({"scale": np.nan}, "scale=nan"),
        ({"scale": "wide"}, "scale='wide'"),
        ({"scale": 1e-200}, "scale=1e-200"),
        ({"scale": 1e200}, "scale=1e+200"),
        ({"scale": 1.0, "kernel": "cosine"}, "scale"),
        ({"max_rows": 0}, "max_rows=0"),
        ({"max_rows": 2.5}, "max_rows"),
    ],
)
def test_one_sentence_says_what_is_wrong(change, part):
    right = {"features": np.arange(12.0).reshape(6, 2), "budget": 2}
    with pytest.raises(errors.InputError) as caught:
        herding.herd(**{**right, **change})
    assert part in str(caught.value)


def test_a_numpy_integer_is_a_budget():
    points = np.eye(4)
    assert len(herding.herd(points, np.int64(2))) == operator.index(np.int64(2))
