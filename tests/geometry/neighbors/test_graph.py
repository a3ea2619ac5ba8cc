"""The graph equals the neighbors in float64, wherever it is computed."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.geometry.neighbors import candidates, contested, graph
from dact_jax.geometry.neighbors.candidates import Sizes
from tests.geometry import reference
from tests.geometry.neighbors import oracle

METRICS = ("euclidean", "cosine")
# By products, in blocks so small that few rows need many of them.
TINY = Sizes(rows=8, columns=16, spare=2, spare_float64=4, plain=0, host=0)
PLACES = ("host", "hosted", "resident")


def options(place, sizes=TINY):
    """Where it is computed: by NumPy, or by two devices that read or hold the pool."""
    mesh = reference.first_devices(1 if place == "host" else 2)
    return {"mesh": mesh, "resident": place == "resident", "sizes": sizes}


def points_of(seed, num=61, width=5):
    return np.random.default_rng(seed).normal(size=(num, width)).astype(np.float32)


def check(points, count, metric="euclidean", **chosen):
    row, distance = oracle.neighbors(points, count, metric)
    found = graph.nearest(points, count, metric=metric, **chosen)
    assert found.row.dtype == np.int32
    assert found.distance.dtype == np.float32
    np.testing.assert_array_equal(found.row, row)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("place", PLACES)
def test_equals_the_neighbors_in_float64(place, metric):
    check(points_of(0), 5, metric, **options(place))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_pools_need_no_device(metric, dtype, monkeypatch):
    monkeypatch.setattr(graph.points, "make", None)
    points = (3 + points_of(0)).astype(dtype)
    check(points, 7, metric)  # by differences
    check(points, 7, metric, sizes=TINY._replace(host=2**34))  # by products


@pytest.mark.parametrize("place", PLACES)
def test_default_sizes(place):
    sizes = Sizes(plain=0, host=0)
    check(points_of(1, 203, 20), 5, "cosine", **options(place, sizes))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("place", PLACES)
def test_lattices_tie_by_the_lowest_row(place, metric):
    lattice = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 4, [0]), -1).reshape(-1, 5)
    order = np.random.default_rng(0).permutation(len(lattice))
    check(lattice[order].astype(np.float32), 5, metric, **options(place))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("place", PLACES)
def test_copies_are_neighbors(place, metric):
    few = np.concatenate([points_of(2, 12), np.zeros((1, 5), np.float32)])
    points = few[np.random.default_rng(3).integers(0, 13, 60)]
    check(points, 5, metric, **options(place))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("spread", [1e-3, 1e-5, 3e-7])
def test_clusters_that_products_cannot_resolve(place, spread):
    rng = np.random.default_rng(4)
    far = 30 + rng.normal(size=(3, 1, 5))
    points = (far + spread * rng.normal(size=(3, 25, 5))).reshape(-1, 5)
    check(points.astype(np.float32), 5, **options(place))
    check(points, 5, **options(place))  # float64 holds what float32 cannot


def test_each_level_decides_what_it_can(monkeypatch):
    """float64 is asked where float32 fails, and all rows where that fails, too."""
    asked = dict.fromkeys(("float32", "float64", "contested", "differences"), 0)
    search, by_products = candidates.search_on_host, contested.by_products
    by_differences = contested.by_differences

    def count_search(read, rows, total, frame, metric, num, mode, sizes):
        asked[mode] += len(rows)
        return search(read, rows, total, frame, metric, num, mode, sizes)

    def count_products(pool, rows, wanted, floor):
        asked["contested"] += len(rows)
        return by_products(pool, rows, wanted, floor)

    def count_differences(pool, rows, wanted, floor):
        asked["differences"] += len(rows)
        return by_differences(pool, rows, wanted, floor)

    monkeypatch.setattr(candidates, "search_on_host", count_search)
    monkeypatch.setattr(contested, "by_products", count_products)
    monkeypatch.setattr(contested, "by_differences", count_differences)
    rng = np.random.default_rng(5)
    wide, near = rng.normal(size=(40, 6)), 9 + 1e-5 * rng.normal(size=(20, 6))
    check(np.concatenate([wide, near]), 4, **options("host"))
    assert list(asked.values()) == [60, 20, 0, 0]
    nearer = 9 + 1e-11 * rng.normal(size=(20, 6))
    check(np.concatenate([wide, nearer]), 4, **options("host"))
    assert list(asked.values()) == [120, 40, 20, 0]
    equal = 9 + np.eye(30)  # all at one distance from each other
    check(np.concatenate([rng.normal(size=(40, 30)), equal]), 4, **options("host"))
    assert list(asked.values()) == [190, 70, 50, 0]


def test_chains_of_distances_that_nearly_agree(monkeypatch):
    """A chain of ties that is longer than candidates reach is followed to its end."""
    monkeypatch.setattr(contested, "_WIDER", 1e-11)
    squared = 1 + 8e-13 * np.arange(60)[::-1]
    points = np.append(np.sqrt(squared), 0.0)[:, None] * np.eye(61)
    found = graph.nearest(points, 3, sizes=TINY)
    assert found.row[60].tolist() == [0, 1, 2]  # all 60 tie
    check(points, 3, **options("host"))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("offset", [0, 100])
def test_cosine_of_narrow_cones_and_of_any_length(place, offset):
    rng = np.random.default_rng(6)
    points = offset + rng.normal(size=(50, 5))
    points *= 10.0 ** rng.integers(-12, 12, size=(50, 1))
    points[7] = 0  # no direction
    check(points.astype(np.float32), 5, "cosine", **options(place))


def test_rows_of_one_direction_tie():
    points = np.outer([1, 3, 7, 11, 0.1], [1.0, 2, 3]).astype(np.float32)
    points = np.concatenate([points, [[3, 2, 1]]]).astype(np.float64)
    points[:5] = points[0] * np.array([[1, 3, 7, 11, 0.1]]).T
    found = graph.nearest(points, 4, metric="cosine")
    assert found.row[0].tolist() == [1, 2, 3, 4]
    assert found.row[3].tolist() == [0, 1, 2, 4]
    assert (found.distance[:5] < 1e-28).all()


def test_similarities_of_rows_of_zeros():
    found = graph.nearest(np.array([[0.0, 0], [2, 0], [0, 0]]), 2, metric="cosine")
    assert found.row.tolist() == [[2, 1], [0, 2], [0, 1]]
    assert found.distance.tolist() == [[0, 0.5], [0.5, 0.5], [0, 0.5]]


@pytest.mark.parametrize("num", [1, 2, 5])
@pytest.mark.parametrize("copies", [False, True])
def test_small_pools_have_fewer_neighbors(num, copies):
    points = np.ones((num, 3), np.float32) if copies else points_of(7, num, 3)
    for chosen in ({}, options("host"), options("hosted")):
        check(points, 9, **chosen)
        assert graph.nearest(points, 0, **chosen).row.shape == (num, 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.int64])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("metric", METRICS)
def test_other_numbers(dtype, place, metric):
    points = (20 * points_of(8, 40)).astype(dtype)
    if dtype == np.int64 and metric == "euclidean":
        points += 2**60  # float64 cannot hold the sums, only the differences
        moved = points - points[3]
        expected = oracle.neighbors(moved, 5)[0]
        found = graph.nearest(points, 5, **options(place)).row
        np.testing.assert_array_equal(found, expected)
        return
    check(points, 5, metric, **options(place))


def test_a_memory_map_is_read_in_blocks(tmp_path):
    points = points_of(9)
    np.save(tmp_path / "points.npy", points)
    check(np.load(tmp_path / "points.npy", mmap_mode="r"), 4, **options("host"))


def test_ten_thousand_copies_take_no_time():
    points = np.repeat(points_of(10, 4, 16), 2500, axis=0)
    found = graph.nearest(points, 5, sizes=Sizes(plain=0))
    assert (found.distance == 0).all()
    np.testing.assert_array_equal(found.row[2], [0, 1, 3, 4, 5])
    np.testing.assert_array_equal(found.row[9999], np.arange(7500, 7505))


@pytest.mark.parametrize(
    ("points", "count", "message"),
    [
        (np.ones(3), 1, r"\[N, F\] real numbers"),
        (np.array([[1.0], [np.nan]]), 1, "row 1 is not"),
        (np.ones((3, 1)), -1, "must not be negative"),
    ],
)
def test_wrong_arguments(points, count, message):
    with pytest.raises(errors.InputError, match=message):
        graph.nearest(points, count)
