"""Picks without a pass over the pool for each: exact, whatever the points are."""

import functools
import math
import os
import socket
import subprocess
import sys
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

import dact_jax
from dact_jax import errors
from dact_jax.geometry import (
    bounds,
    candidates,
    cells,
    distances,
    farthest_first,
    k_center,
    nearest,
    points,
    traversal,
)
from dact_jax.geometry.nearest import Tiles
from tests.test_k_center import greedy


@pytest.fixture(autouse=True)
def blocks(monkeypatch):
    """However small a pool is."""
    monkeypatch.setattr(farthest_first, "_SMALL", 0)


@pytest.fixture
def tiny_blocks(monkeypatch):
    """So small that few points need many of them."""
    monkeypatch.setattr(traversal, "_BLOCK", 1)
    monkeypatch.setattr(traversal, "_FRESH", 1)
    monkeypatch.setattr(traversal, "_EARLY", 6)
    monkeypatch.setattr(traversal, "_PARTED", 0)
    monkeypatch.setattr(traversal, "_FEW", Tiles(16, 4))
    monkeypatch.setattr(traversal, "_MANY", Tiles(16, 8))
    monkeypatch.setattr(traversal, "CANDIDATES", 6)


@pytest.fixture(params=[False, True], ids=["whole", "cells"])
def parted(request, monkeypatch):
    """Without cells, and with cells from the first centre on."""
    monkeypatch.setattr(traversal, "_PARTED", 0)
    monkeypatch.setattr(traversal, "_EARLY", 10)
    monkeypatch.setattr(cells, "_TELLING", -1)
    monkeypatch.setattr(cells, "MOST", 16 if request.param else 1)


@pytest.fixture
def fewer_bits(monkeypatch):
    """Rounds what products multiply; nothing that was compiled so is left behind."""
    exact = distances.product

    def begin(bits):
        def few(x):
            return jax.lax.reduce_precision(x, 8, bits) if x.ndim == 2 else x

        rounded = lambda left, right: exact(few(left), few(right))  # noqa: E731
        monkeypatch.setattr(distances, "product", rounded)
        jax.clear_caches()

    yield begin
    jax.clear_caches()


def mesh(num):
    return Mesh(np.array(jax.devices()[:num]), ("data",))


def pool(rng, num, width):
    """Points of a kind that rng decides; many kinds have exact ties."""
    normal = rng.normal(size=(num, width))
    kinds = [
        lambda: normal,
        lambda: rng.integers(-2, 3, size=(num, width)),  # duplicates and ties
        lambda: rng.integers(0, 2, size=(num, width)) * 2.0**-20 + 3,
        lambda: np.ones((num, width)),
        lambda: normal[rng.integers(num, size=num)],  # every third or so twice
        lambda: 30 + 0.05 * normal,
        lambda: 20 * normal[rng.integers(4, size=num)] + 1e-3 * normal,
        lambda: np.where(np.arange(num)[:, None] == num // 2, 1e6, normal),
        lambda: normal * 1e-18,
        lambda: normal * 1e15,
        lambda: np.sign(normal) * np.sqrt(np.arange(num) % 7)[:, None],
    ]
    return kinds[rng.integers(len(kinds))]().astype(np.float32)


# --- exactness ------------------------------------------------------------------


@pytest.mark.parametrize("part", range(20))
def test_ten_thousand_small_pools(part, tiny_blocks):
    rng = np.random.default_rng(part)
    for _ in range(500):
        points = pool(rng, 48, int(rng.choice([1, 2, 5])))
        centers = rng.permutation(48)[: rng.integers(0, 9)]
        budget = int(rng.integers(1, 49 - len(centers)))
        budget = min(budget, int(rng.choice([3, 10, 48])))
        picked = k_center.select(points, budget, labelled=centers, over=mesh(1))
        assert picked.row.tolist() == greedy(points, centers, budget)


def test_ties_across_the_edge_of_a_block(tiny_blocks):
    """Corners of a cube, three times: all distances tie, in and out of the block."""
    corner = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), -1).reshape(8, 3)
    points = np.tile(corner, (3, 1)).astype(np.float32)
    for first in range(24):
        picked = k_center.select(points, 23, labelled=[first], over=mesh(1))
        assert picked.row.tolist() == greedy(points, [first], 23)


def test_points_at_equal_distances(tiny_blocks):
    points = np.tile(np.eye(40, dtype=np.float32), (2, 1))
    picked = k_center.select(points, 79, labelled=[79], over=mesh(1))
    assert picked.row.tolist() == [*range(39), *range(39, 79)]


@pytest.mark.parametrize(
    ("num", "width", "budget", "num_labelled"),
    [
        (9000, 16, 300, 0),  # more than a block of the size that is used
        (6000, 64, 40, 3000),  # most are labelled
        (3000, 1, 500, 7),  # one feature
        (2500, 64, 2500, 0),  # everything
        (300, 2048, 120, 2),  # wider than long
    ],
)
def test_pools_of_real_blocks(num, width, budget, num_labelled, parted):
    rng = np.random.default_rng(num)
    points = rng.normal(size=(num, width)).astype(np.float32)
    points[num // 2 :][:100] = points[:100]  # duplicates
    labelled = rng.permutation(num)[:num_labelled]
    picked = k_center.select(points, budget, labelled=labelled)
    assert (picked.row.dtype, picked.score.dtype) == (np.int32, np.float32)
    assert picked.row.tolist() == greedy(points, labelled, budget)


def test_one_far_outlier(parted):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(5000, 32)).astype(np.float32)
    points[1234] = 1e7
    picked = k_center.select(points, 60, labelled=[0])
    assert picked.row.tolist() == greedy(points, [0], 60)
    assert picked.row[0] == 1234


def offset(rng):
    return 30 + 0.05 * rng.normal(size=(5000, 128))


def far_clusters(rng):
    centers = 20 * rng.normal(size=(20, 128))
    return centers[rng.integers(20, size=5000)] + 1e-3 * rng.normal(size=(5000, 128))


def centred(rng):
    return rng.normal(size=(5000, 128))


@pytest.mark.parametrize("case", [offset, far_clusters, centred])
@pytest.mark.parametrize("seed", range(3))
def test_numerics(case, seed, parted):
    """Design's measured cases: expanded float32 gives up to 176 of 200 wrong picks."""
    points = case(np.random.default_rng(seed)).astype(np.float32)
    picked = k_center.select(points, 200)
    assert picked.row.tolist() == [0, *greedy(points, [0], 199)]


def test_clusters_that_float64_products_cannot_resolve(parted):
    """Neighbours differ in the last bits of float32: only differences tell."""
    rng = np.random.default_rng(0)
    corner = rng.choice([-1, 1], (5, 64)) * rng.integers(2**23, 2**24 - 3, (5, 64))
    points = np.repeat(corner, 600, 0) + rng.integers(0, 3, (3000, 64))
    points = points.astype(np.float32)
    picked = k_center.select(points, 100)
    assert picked.row.tolist() == [0, *greedy(points, [0], 99)]


def many_duplicates(rng):
    """More tie for the farthest than there are candidates, of long vectors."""
    points = 0.3 * rng.normal(size=(1200, 512))
    points[800:1150] = 3 + 0.6 * rng.normal(size=512)
    points[1150] = 3
    return points, [0, 1150], 300


def underflow(rng):
    points = 1e-20 * rng.normal(size=(5000, 32))
    points[0] = 1
    return points, [1], 20


def one_point_beyond_all(rng):
    points = 1e-18 * rng.normal(size=(5000, 32))
    points[7] = 1000
    return points, [1], 20


def all_equal(rng):
    return np.ones((5000, 32)), [0], 600


@pytest.mark.parametrize(
    "case", [many_duplicates, underflow, one_point_beyond_all, all_equal]
)
def test_pools_that_once_went_wrong(case, parted):
    points, labelled, budget = case(np.random.default_rng(0))
    points = points.astype(np.float32)
    picked = k_center.select(points, budget, labelled=labelled)
    assert picked.row.tolist() == greedy(points, labelled, budget)


def test_ties_that_are_not_transitive_end(parted):
    """Row 1 ties with the farthest outside, and not with the farthest of all."""

    def corner(squared):  # integers whose squares add up to it
        found = []
        for _ in range(8):
            found.append(math.isqrt(squared))
            squared -= found[-1] ** 2
        assert squared == 0
        return found

    most = (2**23 + 12345) ** 2
    tie = candidates.TIE * most
    points = np.zeros((17000, 8), np.float32)
    points[403:, 0] = 2**22 + np.random.default_rng(0).integers(0, 2**20, 16597)
    points[1] = corner(most - int(1.2 * tie))
    points[2:102] = corner(most - int(0.9 * tie))
    points[102:403] = [corner(most - int(0.4 * tie * i / 300)) for i in range(301)]
    picked = k_center.select(points, 1, labelled=[0])
    assert 2 <= picked.row[0] < 403


def test_a_centre_that_was_nearest_stays_a_lower_bound():
    """Its distance was above the truth by up to twice the error among candidates."""
    known = bounds.unknown(1, np.zeros(0, int))
    known.bound[:], known.near[:], known.seen[:] = 0.25 + 1e-9, 3, 4
    nearer = nearest.Found(*(np.array([x]) for x in (0.1, 4, 0.5)))
    options = {"everywhere": True, "width": 1, "mode": "differences", "blur": 1e-9}
    bounds.learn(known, np.zeros(1, int), nearer, 5, **options)
    assert known.near[0] == 4
    assert 0.25 - 2e-9 < known.rest[0] <= 0.25 - 1e-9


def test_points_too_long_for_products_are_refused():
    points = np.random.default_rng(0).uniform(-0.2, 0.2, (5000, 32))
    points = points.astype(np.float32)
    points[7:9, 0] = 4.2e18
    with pytest.raises(errors.InputError, match="row 7 is not"):
        k_center.select(points, 5, labelled=[7])


@pytest.mark.parametrize("order", ["F", "slice"])
def test_an_array_that_is_not_contiguous_is_not_copied_whole(order):
    whole = np.random.default_rng(0).normal(size=(20000, 64)).astype(np.float32)
    array = np.asfortranarray(whole) if order == "F" else whole[:, :32]
    rows = np.arange(4000)
    tracemalloc.start()
    found = points._take(array, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, array[rows])
    assert peak < 3 * found.nbytes


@pytest.mark.parametrize(
    ("case", "num", "width", "num_labelled"),
    [
        (centred, 100_000, 8, 1),
        (offset, 20_000, 128, 7000),
        (far_clusters, 20_000, 128, 1),
    ],
)
def test_memory_is_as_the_module_says(case, num, width, num_labelled):
    """What NumPy holds, that is, which is most of it."""
    rng, budget = np.random.default_rng(0), 300
    points = np.concatenate([case(rng)[:, :width] for _ in range(num // 5000)])
    points = points.astype(np.float32)
    labelled = rng.permutation(num)[:num_labelled]
    k_center.select(points, 1, labelled=labelled)
    tracemalloc.start()
    k_center.select(points, budget, labelled=labelled)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    room = max(1024, 2 ** math.ceil(math.log2(num_labelled + budget + 256)))
    assert 40 * num < peak < 96 * num + 20 * width * room + 49152 * width


# --- precision ------------------------------------------------------------------


@pytest.mark.parametrize("mode", distances.MODES)
@pytest.mark.parametrize("width", [1, 4, 300])
def test_bounds_hold(mode, width):
    points, found, length = compared(mode, width)
    far = ((points[:128, None].astype(np.float64) - points[128:]) ** 2).sum(-1)
    order = np.sort(far, 1)
    own = np.take_along_axis(far, found.at[:, None], 1)[:, 0]
    slack = distances.slack(width, mode)
    assert (found.least >= own * (1 - 1e-12)).all()
    assert (found.least <= order[:, 0] + 8 * slack * (points**2).sum(1).max()).all()
    low = distances.lower(found.second, distances.error(length, mode), slack)
    assert (low <= order[:, 1] * (1 + 1e-12)).all()


@pytest.mark.parametrize("bits", [10, 7])  # of TF32 and of bfloat16
def test_bounds_do_not_hold_with_fewer_bits(bits, fewer_bits):
    """So `product` must ask for the highest precision, as the next test sees to."""
    fewer_bits(bits)
    points, found, _ = compared("float32", 4)
    far = ((points[:128, None].astype(np.float64) - points[128:]) ** 2).sum(-1)
    assert (found.least < far.min(1)).sum() > 20


@pytest.mark.parametrize("bits", [10, 7])
def test_fewer_bits_give_wrong_picks(bits, fewer_bits, tiny_blocks):
    points = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    points[:, 0] *= 100
    right = k_center.select(points, 300, over=mesh(1))
    assert right.row.tolist() == [0, *greedy(points, [0], 299)]
    fewer_bits(bits)
    wrong = k_center.select(points, 300, over=mesh(1))
    assert (right.row != wrong.row).sum() > 20


def compared(mode, width):
    """Points 0 .. 127 of 192 compared with the others as centres, in another order."""
    points, centers, frame, options = task(mode, width)
    with jax.enable_x64(True):
        mean = np.zeros((1, width), np.float32)
        first = nearest.survey(points[:128], mean, centers, frame, **options)
        length = np.asarray(first.length)
        order = np.random.default_rng(0).permutation(64).astype(np.int32)
        span = np.array([[0, 64]] * 2, np.int32)
        found = nearest.two_nearest(
            points[:128], span, order, centers, frame, **options
        )
    return points, upper(found, length, width, mode), length


def task(mode, width):
    """192 points, of which the last 64 are centres, with 16 places more."""
    points = 30 * np.random.default_rng(width).normal(size=(192, width))
    points = points.astype(np.float32)
    with jax.enable_x64(True):
        frame = distances.Frame(np.zeros(width, np.float32), np.float32(1))
        dtype = jnp.float32 if mode == "float32" else jnp.float64
        none = jnp.full(80, jnp.inf, dtype)
        centers = distances.Centers(jnp.zeros((80, width), dtype), none)
        order = np.arange(64, dtype=np.int32)
        zero, all_ = np.int32(0), np.int32(64)
        centers = distances.append(
            centers, points[128:], order, zero, all_, frame, mode=mode
        )
    options = {"over": mesh(1), "mode": mode, "tiles": Tiles(64, 16)}
    return points, centers, frame, options


def upper(found, length, width, mode):
    """With the points' own part."""
    least, at, second = jax.device_get(found)
    own = distances.own(length, width, mode)
    return nearest.Found(least + own, at, second + own)


@pytest.mark.parametrize("mode", distances.MODES)
def test_a_span_alone_is_compared(mode):
    """And what fills its last tile; so are the first centres in a survey."""
    points, centers, frame, options = task(mode, 5)
    order = np.random.default_rng(0).permutation(64).astype(np.int32)
    order = np.append(order, np.arange(64, 80)).astype(np.int32)
    span = np.array([[3, 35], [60, 64]], np.int32)
    far = ((points[:128, None].astype(np.float64) - points[128:]) ** 2).sum(-1)
    with jax.enable_x64(True):
        pivots = points[[5, 9]]
        first = nearest.survey(points[:128], pivots, centers, frame, **options)
        found = nearest.two_nearest(
            points[:128], span, order, centers, frame, **options
        )
    length = np.asarray(first.length)
    np.testing.assert_allclose(length, (points[:128] ** 2).sum(-1), rtol=1e-5)
    away = np.linalg.norm(points[:128, None] - pivots, axis=-1)
    assert (np.asarray(first.cell) == away.argmin(1)).all()
    found = upper(found, length, 5, mode)
    for rows, numbers in ((slice(64), order[3:35]), (slice(64, 128), order[60:64])):
        assert (found.at[rows] == numbers[far[rows][:, numbers].argmin(1)]).all()
        two = np.sort(far[rows][:, numbers], 1)[:, :2]
        np.testing.assert_allclose(found.least[rows], two[:, 0], rtol=1e-3)
        np.testing.assert_allclose(found.second[rows], two[:, 1], rtol=1e-3)
    some = upper(first.found, length, 5, mode)
    assert (some.at == far[:, :16].argmin(1)).all()
    two = np.sort(far[:, :16], 1)[:, :2]
    np.testing.assert_allclose(some.least, two[:, 0], rtol=1e-3)
    np.testing.assert_allclose(some.second, two[:, 1], rtol=1e-3)


def test_products_ask_for_the_highest_precision():
    a = np.ones((3, 4), np.float32)
    for b in (a.T, a[0]):
        (product,) = jax.make_jaxpr(distances.product)(a, b).eqns
        assert set(product.params["precision"]) == {jax.lax.Precision.HIGHEST}


# --- where points lie, and who works on them -------------------------------------


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize("num", [1, 3, 130, 5001])
def test_devices_and_residence_change_nothing(num, num_devices, resident, monkeypatch):
    monkeypatch.setattr(cells, "_TELLING", -1)
    monkeypatch.setattr(traversal, "_PARTED", 0)
    points = np.random.default_rng(num).normal(size=(num, 24)).astype(np.float32)
    budget = min(num, 150)
    picked = k_center.select(points, budget, over=mesh(num_devices), resident=resident)
    assert picked.row.tolist() == [0, *greedy(points, [0], budget - 1)]


SCRIPT = """
import sys
import jax, numpy as np
from jax.sharding import Mesh
from dact_jax import cells, farthest_first, search
from dact_jax.acquisitions import k_center
search._PARTED, cells._TELLING = 0, -1
if len(sys.argv) > 1:
    jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
points = np.random.default_rng(5).normal(size=(5003, 24)).astype(np.float32)
for num in map(int, sys.argv[3:] or "128"):
    over = Mesh(np.array(jax.devices()[:num]), ("data",))
    for small in (0, 2**20):
        farthest_first._SMALL = small
        for resident in (False, True):
            options = {"labelled": [3], "over": over, "resident": resident}
            print(num, small, resident, *k_center.select(points, 200, **options).row)
"""


def run(num_devices, *args):
    flags = f"--xla_force_host_platform_device_count={num_devices}"
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", SCRIPT, *args]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def rows(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    lines = [line.split() for line in out.splitlines() if line[0].isdigit()]
    return {tuple(line[:3]): [int(x) for x in line[3:]] for line in lines}


@functools.cache
def expected():
    points = np.random.default_rng(5).normal(size=(5003, 24)).astype(np.float32)
    return greedy(points, [3], 200)


def test_eight_devices():
    found = rows(run(8))
    assert len(found) == 12
    assert all(row == expected() for row in found.values())


def test_two_processes():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    both = [run(1, address, str(number), "2") for number in range(2)]
    for found in map(rows, both):
        assert len(found) == 4
        assert all(row == expected() for row in found.values())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
def test_a_file_that_is_mapped_into_memory(tmp_path, dtype):
    points = (20 * np.random.default_rng(1).normal(size=(3000, 50))).astype(dtype)
    np.save(tmp_path / "x.npy", points)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    picked = dact_jax.k_center(mapped, 30, labelled=[5])
    assert picked.tolist() == greedy(points.astype(np.float32), [5], 30)


# --- bad points, progress ---------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e25])
@pytest.mark.parametrize("row", [0, 17, 4999])
def test_a_row_that_is_not_finite_is_named(row, bad):
    points = np.random.default_rng(0).normal(size=(5000, 40)).astype(np.float32)
    points[row, 3] = bad
    with pytest.raises(errors.InputError, match=f"row {row} is not"):
        k_center.select(points, 5)


def test_progress_is_told():
    points = np.random.default_rng(0).normal(size=(5000, 40)).astype(np.float32)
    seen = []
    k_center.select(points, 50, told=lambda *at: seen.append(at))
    done, budgets = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert seen[-1] == (50, 50)
    assert set(budgets) == {50}


@pytest.mark.parametrize("kind", ["clusters", "spectrum"])
def test_few_pairs_are_compared(kind, monkeypatch):
    """Far less work than a pass for each pick, and never more than a block at once."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20000, 64))
    if kind == "clusters":
        points += 2 * rng.normal(size=(16, 64))[rng.integers(16, size=20000)]
    else:
        points /= np.arange(1, 65)
    points = points.astype(np.float32)
    most, pairs = compared_pairs(points, monkeypatch)
    assert most <= 4096
    assert pairs < 0.3 * 20000 * 500
    monkeypatch.setattr(cells, "MOST", 1)
    whole = compared_pairs(points, monkeypatch)[1]
    assert pairs < 0.6 * whole


def compared_pairs(points, monkeypatch):
    """(Most points at once, pairs in all) of a selection of 500."""
    rows, pairs = [], []
    whole, some = nearest.survey, nearest.two_nearest

    def counted(first, last, of, tiles):
        tiled = np.ceil(np.maximum(last - first, 0) / tiles.centers) * tiles.centers
        rows.append(len(of))
        pairs.append(tiles.points * tiled.sum())

    def survey(points, pivots, *args, tiles, **options):
        counted(0, np.full(len(points) // tiles.points, tiles.centers), points, tiles)
        pairs.append(len(points) * len(pivots))
        return whole(points, pivots, *args, tiles=tiles, **options)

    def two_nearest(points, span, *args, tiles, **options):
        counted(*np.asarray(span).T, points, tiles)
        return some(points, span, *args, tiles=tiles, **options)

    with monkeypatch.context() as patched:
        patched.setattr(nearest, "survey", survey)
        patched.setattr(nearest, "two_nearest", two_nearest)
        k_center.select(points, 500)
    return max(rows), sum(pairs)


# --- bounds -----------------------------------------------------------------------


def test_the_largest_bounds_are_found():
    """Whatever a few of them tell of the others."""
    for seed in range(600):
        rng = np.random.default_rng(seed)
        bound = rng.random(rng.integers(1, 3000))
        if seed % 3 == 0:
            bound = np.round(bound * rng.integers(1, 6))
        if seed % 4 == 0:
            bound[rng.random(len(bound)) < 0.7] = -1
        if seed % 5 == 0:
            bound[:: bounds._FEW] = rng.choice([-1, 2])
        size = int(rng.integers(1, len(bound) + 1))
        order = np.lexsort([np.arange(len(bound)), -bound])[:size]
        assert bounds._top(bound, size).tolist() == sorted(order.tolist())


def test_blocks_of_large_pools_are_larger(monkeypatch):
    points = np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)
    sizes = []
    two_nearest = nearest.two_nearest

    def watched(points, *args, **options):
        sizes.append(len(points))
        return two_nearest(points, *args, **options)

    monkeypatch.setattr(nearest, "two_nearest", watched)
    right = k_center.select(points, 200).row.tolist()
    assert max(sizes) == 4096
    sizes.clear()
    monkeypatch.setattr(traversal, "_BLOCK", 1024)
    monkeypatch.setattr(traversal, "_LARGE", 8000)
    assert k_center.select(points, 200).row.tolist() == right
    assert max(sizes) == 4 * 1024


# --- candidates -------------------------------------------------------------------


@pytest.fixture(params=["products", "differences"])
def reached(request, monkeypatch):
    """How candidates reach each other: here products err as much as is allowed."""
    if request.param == "products":
        slack, table = distances.slack, candidates._table
        rng = np.random.default_rng(0)

        def large(width, mode):
            return slack(width, mode) * (1e11 if mode == "float64" else 1)

        def noisy(placed, length):
            error = 2 * large(placed.shape[1], "float64") * length.max()
            noise = rng.uniform(-error, error, (len(placed), len(placed)))
            return np.maximum(
                table(placed, length) + np.triu(noise) + np.triu(noise, 1).T, 0
            )

        monkeypatch.setattr(distances, "slack", large)
        monkeypatch.setattr(candidates, "_table", noisy)
    monkeypatch.setattr(
        candidates, "_SMOOTH", 0.02 if request.param == "products" else 0
    )
    return request.param


def test_what_becomes_of_candidates(reached):
    """Picks are a greedy's while none outside counts, and bounds hold in the end."""
    modes, stopped = set(), 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        centers = rng.normal(size=(rng.integers(2, 30), 6)).astype(np.float32)
        points = rng.normal(size=(rng.integers(1, 60), 6)).astype(np.float32)
        if seed % 3 == 0:
            points = np.round(points)  # ties, and the same again
        exact = away(points, centers)
        near, two = exact.argmin(1).astype(np.int32), np.sort(exact, 1)
        known = candidates.Known(two[:, 0] * 1.01, near, two[:, 1] * 0.999)
        wrong = rng.random(len(points)) < 0.2  # of these the nearest is another one
        known.near[wrong] = rng.integers(len(centers), size=wrong.sum())
        known.rest[wrong] = 0
        most = float(rng.choice([-1, np.median(two[:, 0])]))
        frame = distances.Frame(np.zeros(6, np.float32), np.float32(1))
        outside = candidates.Outside(np.float64(most), np.int32(0))
        rows, budget = np.arange(1, len(points) + 1), int(rng.integers(1, 61))
        found = candidates.settle(rows, points, known, centers, frame, outside, budget)
        modes.add(bool(found.blur))

        picked, before = found.order[found.order >= 0], len(centers)
        right = greedy(
            np.concatenate([centers, points]), np.arange(before), len(picked)
        )
        assert (before + picked).tolist() == right
        every = np.concatenate([centers, points[picked]])
        left = np.setdiff1d(np.arange(len(points)), picked)
        exact, now = away(points[left], every), found.known
        if len(left) and len(picked) < budget:
            stopped += 1
            assert exact.min(1).max() <= most * (1 + 1e-9)
        assert (now.bound[picked] == -1).all()
        assert (now.bound[left] >= exact.min(1) * (1 - 1e-12)).all()
        own = exact[np.arange(len(left)), now.near[left]]
        assert (abs(own - now.bound[left]) <= 1e-12 + 2 * found.blur).all()
        other = np.arange(len(every)) != now.near[left][:, None]
        others = np.min(exact, 1, initial=np.inf, where=other)
        assert (now.rest[left] <= others * (1 + 1e-12)).all()
    assert modes == {reached == "products", False}
    assert stopped > 50


def away(points, centers):
    return ((points[:, None].astype(np.float64) - centers) ** 2).sum(-1)


@pytest.mark.parametrize("case", ["normal", "offset", "subnormal", "overflow"])
def test_the_nearest_is_never_ruled_out(case):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 300))
    points[100:] = points[:100] * (1 + 1e-2 * rng.normal(size=(100, 300)))
    if case == "offset":
        points = 100 + 1e-3 * points
    elif case == "subnormal":  # their squares, as float32 holds them
        points *= 3e-22
    elif case == "overflow":
        points[::2] *= 1e20
    points = points.astype(np.float32)
    for point in points[:40]:
        point = point * np.float32(1.01)
        exact = ((points.astype(np.float64) - point) ** 2).sum(-1)
        found = candidates._near(point.astype(np.float64), points)
        assert exact.argmin() in found
        assert case != "normal" or len(found) < 5


# --- cells ------------------------------------------------------------------------


def test_cells_decide_nothing(monkeypatch):
    """Pivots far from all points, or that split clusters: the same picks."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4500, 16)) + 4 * rng.integers(3, size=(4500, 1))
    points = points.astype(np.float32)
    right = greedy(points, [7], 150)
    for pivots in (rng.normal(size=(5, 16)), 100 + rng.normal(size=(16, 16))):
        monkeypatch.setattr(cells, "pivots", lambda *_, of=pivots: of.astype("f"))
        assert k_center.select(points, 150, labelled=[7]).row.tolist() == right


def test_cells_that_tell_nothing_are_one():
    rng = np.random.default_rng(0)
    noise = rng.uniform(size=(512, 512)).astype(np.float32)
    alike = cells.pivots(noise, 16)
    assert alike.shape == (16, 512)
    assert (alike == alike[0]).all()
    centers = 10 * rng.normal(size=(4, 8))
    points = (centers[rng.integers(4, size=512)] + rng.normal(size=(512, 8))).astype(
        np.float32
    )
    pivots = cells.pivots(points, 16)
    assert pivots.shape == (16, 8)
    away = np.linalg.norm(points[:, None] - pivots, axis=-1)
    assert away.min(1).max() < 6
    assert cells.pivots(points[:1], 1).tolist() == points[:1].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_spans_hold_what_a_point_has_not_tried(seed):
    rng = np.random.default_rng(seed)
    center, room, group = rng.integers(5, size=23), 32, 4
    table = cells.table(center, room)
    assert sorted(table.order) == list(range(room))
    cell, tried = rng.integers(5, size=40), rng.integers(24, size=40)
    order = np.lexsort([tried, cell])
    cell, tried = cell[order], tried[order]
    spans = cells.spans(table, cell, tried, group).repeat(group, 0)
    for (first, last), own, known in zip(spans, cell, tried, strict=True):
        wanted = [n for n in range(known, 23) if center[n] == own]
        assert set(wanted) <= set(table.order[first:last])
        assert set(center[table.order[first:last]]) <= set(range(cell[-1] + 1))
