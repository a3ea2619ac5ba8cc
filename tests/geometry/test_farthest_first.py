"""Picks are those of a float64 greedy, whatever the points are."""

import math
import tracemalloc

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.geometry import candidates, k_center
from dact_jax.geometry.on_host import workers
from tests.geometry import reference
from tests.geometry.reference import BLOCKS, TINY, greedy


@pytest.fixture(
    params=[reference.WITHOUT_CELLS, reference.WITH_CELLS], ids=["whole", "cells"]
)
def tuning(request):
    return request.param


POOL, WIDTH = 32, 5  # two tiles of points, more than five sets of candidates


def small_pool(rng):
    """Points of a random kind with 1, 2 or 5 features; many kinds have exact ties.

    Features are padded with zeros, which change no distance: one shape, few programs.
    """
    width = int(rng.choice([1, 2, WIDTH]))
    normal = rng.normal(size=(POOL, width))
    kinds = [
        lambda: normal,
        lambda: rng.integers(-2, 3, size=(POOL, width)),  # duplicates and ties
        lambda: rng.integers(0, 2, size=(POOL, width)) * 2.0**-20 + 3,
        lambda: np.ones((POOL, width)),
        lambda: normal[rng.integers(POOL, size=POOL)],  # about every third row twice
        lambda: 30 + 0.05 * normal,
        lambda: 20 * normal[rng.integers(4, size=POOL)] + 1e-3 * normal,
        lambda: np.where(np.arange(POOL)[:, None] == POOL // 2, 1e6, normal),
        lambda: normal * 1e-18,
        lambda: normal * 1e15,
        lambda: np.sign(normal) * np.sqrt(np.arange(POOL) % 7)[:, None],
    ]
    points = kinds[rng.integers(len(kinds))]().astype(np.float32)
    return np.pad(points, ((0, 0), (0, WIDTH - width)))


@pytest.mark.parametrize("part", range(20))
def test_ten_thousand_small_pools(part):
    rng = np.random.default_rng(part)
    with_cells, without_cells = (TINY._replace(max_cells=n) for n in (4, 1))
    pools, is_center = [], np.zeros((500, POOL), bool)
    budgets = np.zeros(500, int)
    for number in range(500):
        pools.append(small_pool(rng))
        centers = rng.permutation(POOL)[: rng.integers(0, 9)]
        is_center[number, centers] = True
        budget = int(rng.integers(1, POOL + 1 - len(centers)))
        budgets[number] = min(budget, int(rng.choice([3, 10, POOL])))
    expected = reference.greedy_of_each(np.array(pools), is_center, budgets)
    mesh = reference.first_devices(1)
    for number, points in enumerate(pools):
        budget = int(budgets[number])
        tuning = with_cells if number % 2 else without_cells
        picked = k_center.select(
            points, budget, labelled=is_center[number], mesh=mesh, tuning=tuning
        )
        assert picked.row.tolist() == expected[number, :budget].tolist()


def test_the_vectorized_reference_equals_the_definition():
    rng = np.random.default_rng(0)
    pools = np.array([small_pool(rng) for _ in range(60)])
    is_center = rng.random((60, POOL)) < 0.1
    is_center[0] = False
    budgets = rng.integers(1, POOL + 1 - is_center.sum(1).max(), size=60)
    picks = reference.greedy_of_each(pools, is_center, budgets)
    for number, budget in enumerate(budgets):
        centers = np.flatnonzero(is_center[number])
        expected = greedy(pools[number], centers, budget)
        assert picks[number, :budget].tolist() == expected
        assert (picks[number, budget:] == -1).all()


def test_ties_across_the_edge_of_a_block():
    """Corners of a cube, three times: all distances tie, in and out of the block."""
    corner = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), -1).reshape(8, 3)
    points = np.tile(corner, (3, 1)).astype(np.float32)
    mesh = reference.first_devices(1)
    for first in range(24):
        picked = k_center.select(points, 23, labelled=[first], mesh=mesh, tuning=TINY)
        assert picked.row.tolist() == greedy(points, [first], 23)


def test_points_at_equal_distances():
    points = np.tile(np.eye(40, dtype=np.float32), (2, 1))
    mesh = reference.first_devices(1)
    picked = k_center.select(points, 79, labelled=[79], mesh=mesh, tuning=TINY)
    assert picked.row.tolist() == [*range(39), *range(39, 79)]


@pytest.mark.parametrize(
    ("num", "width", "budget", "num_labelled"),
    [
        (9000, 16, 300, 0),  # more than a block of the default size
        (6000, 64, 40, 3000),  # most are labelled
        (3000, 1, 500, 7),  # one feature
        (2500, 64, 2500, 0),  # everything
        (300, 2048, 120, 2),  # wider than long
    ],
)
def test_pools_of_real_blocks(num, width, budget, num_labelled, tuning):
    rng = np.random.default_rng(num)
    points = rng.normal(size=(num, width)).astype(np.float32)
    points[num // 2 :][:100] = points[:100]  # duplicates
    labelled = rng.permutation(num)[:num_labelled]
    picked = k_center.select(points, budget, labelled=labelled, tuning=tuning)
    assert (picked.row.dtype, picked.score.dtype) == (np.int32, np.float32)
    assert picked.row.tolist() == greedy(points, labelled, budget)


def test_one_far_outlier(tuning):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(5000, 32)).astype(np.float32)
    points[1234] = 1e7
    picked = k_center.select(points, 60, labelled=[0], tuning=tuning)
    assert picked.row.tolist() == greedy(points, [0], 60)
    assert picked.row[0] == 1234


def offset(rng):
    return 30 + 0.05 * rng.normal(size=(5000, 128))


def far_clusters(rng):
    centers = 20 * rng.normal(size=(20, 128))
    return centers[rng.integers(20, size=5000)] + 1e-3 * rng.normal(size=(5000, 128))


def centered(rng):
    return rng.normal(size=(5000, 128))


@pytest.mark.parametrize("case", [offset, far_clusters, centered])
@pytest.mark.parametrize("seed", range(3))
def test_numerics(case, seed, tuning):
    """Expanded squares in float32 give up to 176 wrong picks of 200 in these cases."""
    points = case(np.random.default_rng(seed)).astype(np.float32)
    picked = k_center.select(points, 200, tuning=tuning)
    assert picked.row.tolist() == [0, *greedy(points, [0], 199)]


def test_clusters_that_float64_products_cannot_resolve(tuning):
    """Neighbors differ in the last bits of float32: only differences separate them."""
    rng = np.random.default_rng(0)
    corner = rng.choice([-1, 1], (5, 64)) * rng.integers(2**23, 2**24 - 3, (5, 64))
    points = np.repeat(corner, 600, 0) + rng.integers(0, 3, (3000, 64))
    points = points.astype(np.float32)
    picked = k_center.select(points, 100, tuning=tuning)
    assert picked.row.tolist() == [0, *greedy(points, [0], 99)]


def seconds(rng):
    return rng.uniform(0, 50, (3000, 3)) + 1.7e9


def nanoseconds(rng):
    return rng.integers(0, 1000, (3000, 3)) + 1_700_000_000_000_000_000


def far_integers(rng):
    ends = np.array([-(2**57), 2**57])
    return rng.choice(ends, (3000, 1)) + (rng.integers(0, 1000, (3000, 3)) << 13)


def unsigned(rng):
    return rng.integers(2**64 - 500, 2**64, (3000, 3), np.uint64)


def clusters_by_their_last_digits(rng):
    centers = 1e3 * rng.normal(size=(20, 3))
    return centers[rng.integers(20, size=3000)] + 1e-5 * rng.normal(size=(3000, 3))


def halves_far_apart(rng):
    """Half of the rows differ by less than the digits that the others leave."""
    points = 1e-9 * rng.normal(size=(3000, 3))
    points[1500:] += 1e9
    return points


# Of one shape, so that all share their compiled programs.
WIDE = [
    seconds,
    nanoseconds,
    far_integers,
    unsigned,
    clusters_by_their_last_digits,
    halves_far_apart,
    lambda rng: (rng.integers(0, 500, (3000, 3)) + 2**30).astype(np.int32),
    lambda rng: rng.normal(size=(3000, 3)).astype(np.longdouble),
]


@pytest.mark.parametrize("case", WIDE)
@pytest.mark.parametrize("sizes", [BLOCKS, BLOCKS._replace(scan_numbers=2**20)])
def test_digits_that_float32_cannot_hold_count(case, sizes):
    points = case(np.random.default_rng(0))
    exact = points
    if points.dtype.kind in "iu":  # as Python integers, which do not overflow
        exact = points.astype(object) - points.astype(object)[1500]
    picked = k_center.select(points, 150, labelled=[0, 9], tuning=sizes)
    assert picked.row.tolist() == greedy(exact, [0, 9], 150)


@pytest.mark.parametrize("resident", [False, True])
def test_digits_count_wherever_the_points_are(resident):
    points = seconds(np.random.default_rng(0))
    mesh = reference.first_devices(2)
    options = {"mesh": mesh, "resident": resident, "tuning": BLOCKS}
    picked = k_center.select(points, 50, labelled=[7], **options)
    assert picked.row.tolist() == greedy(points, [7], 50)


def many_duplicates(rng):
    """More rows tie for the farthest than there are candidates; vectors are long."""
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
def test_pools_that_once_gave_wrong_picks(case, tuning):
    points, labelled, budget = case(np.random.default_rng(0))
    points = points.astype(np.float32)
    picked = k_center.select(points, budget, labelled=labelled, tuning=tuning)
    assert picked.row.tolist() == greedy(points, labelled, budget)


def test_ties_that_are_not_transitive_end(tuning):
    """Row 1 ties with the farthest outside, and not with the farthest of all."""

    def corner(squared):  # integers whose squares add up to it
        coordinates = []
        for _ in range(8):
            coordinates.append(math.isqrt(squared))
            squared -= coordinates[-1] ** 2
        assert squared == 0
        return coordinates

    most = (2**23 + 12345) ** 2
    tie = candidates.TIE * most
    points = np.zeros((17000, 8), np.float32)
    points[403:, 0] = 2**22 + np.random.default_rng(0).integers(0, 2**20, 16597)
    points[1] = corner(most - int(1.2 * tie))
    points[2:102] = corner(most - int(0.9 * tie))
    points[102:403] = [corner(most - int(0.4 * tie * i / 300)) for i in range(301)]
    picked = k_center.select(points, 1, labelled=[0], tuning=tuning)
    assert 2 <= picked.row[0] < 403


@pytest.mark.parametrize(
    ("case", "num", "width", "num_labelled"),
    [
        (centered, 60_000, 8, 1),
        (offset, 20_000, 128, 7000),
        (far_clusters, 20_000, 128, 1),
    ],
)
def test_memory_is_as_the_module_says(case, num, width, num_labelled):
    """What NumPy holds, which is most of it."""
    rng, budget = np.random.default_rng(0), 150
    points = np.concatenate([case(rng)[:, :width] for _ in range(num // 5000)])
    points = points.astype(np.float32)
    labelled = rng.permutation(num)[:num_labelled]
    k_center.select(points, 1, labelled=labelled, tuning=BLOCKS)
    tracemalloc.start()
    k_center.select(points, budget, labelled=labelled, tuning=BLOCKS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    room = max(1024, 2 ** math.ceil(math.log2(num_labelled + budget + 256)))
    most = 96 * num + 20 * width * room + 49152 * width + 2**23 * workers.COUNT
    assert 40 * num < peak < most


@pytest.mark.parametrize("bits", [10, 7])  # of TF32 and of bfloat16
def test_fewer_bits_give_wrong_picks(bits, reduce_precision):
    """So `distances.product` must ask for the highest precision."""
    points = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    points[:, 0] *= 100
    mesh = reference.first_devices(1)
    options = {"mesh": mesh, "resident": True, "tuning": BLOCKS}
    expected = [0, *greedy(points, [0], 99)]
    assert k_center.select(points, 100, **options).row.tolist() == expected
    reduce_precision(bits)
    wrong = k_center.select(points, 100, **options).row
    assert (wrong != expected).sum() > 20


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e25])
@pytest.mark.parametrize("row", [0, 17, 4999])
def test_a_row_that_is_not_finite_is_named(row, bad):
    points = np.random.default_rng(0).normal(size=(5000, 40)).astype(np.float32)
    points[row, 3] = bad
    with pytest.raises(errors.InputError, match=f"row {row} "):
        k_center.select(points, 5, tuning=BLOCKS)


def test_points_too_long_for_products_are_rejected():
    points = np.random.default_rng(0).uniform(-0.2, 0.2, (5000, 32))
    points = points.astype(np.float32)
    points[7:9, 0] = 4.2e18
    with pytest.raises(errors.InputError, match="row 7 "):
        k_center.select(points, 5, labelled=[7], tuning=BLOCKS)


@pytest.mark.parametrize("tuning", [BLOCKS, BLOCKS._replace(scan_numbers=2**20)])
def test_progress_is_reported(tuning):
    points = np.random.default_rng(0).normal(size=(5000, 40)).astype(np.float32)
    reports = []
    k_center.select(
        points, 50, report_progress=lambda *at: reports.append(at), tuning=tuning
    )
    done, budgets = zip(*reports, strict=True)
    assert list(done) == sorted(done)
    assert reports[-1] == (50, 50)
    assert set(budgets) == {50}
