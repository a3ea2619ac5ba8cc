import threading

import numpy as np
import pytest

from dact_jax.geometry import k_center
from dact_jax.geometry.on_host import workers
from tests.geometry import reference


@pytest.fixture(params=[1, 3])
def count(request, monkeypatch):
    workers.executor.cache_clear()
    monkeypatch.setattr(workers, "COUNT", request.param)
    yield request.param
    workers.executor.cache_clear()


def test_results_come_in_the_order_of_the_blocks(count):
    found = workers.run(lambda n: (n * n, workers.is_worker()), range(50))
    assert found == [(n * n, count > 1) for n in range(50)]
    assert not workers.is_worker()
    assert workers.run(lambda n: n, []) == []


def test_several_blocks_are_computed_at_a_time(count):
    meet = threading.Barrier(count, timeout=60)
    blocks = range(4 * count)
    assert workers.run(lambda n: meet.wait() >= 0, blocks) == [True] * len(blocks)


def test_a_block_does_not_wait_for_threads_that_compute_others(count):
    del count
    inner = workers.run(lambda n: workers.run(lambda m: n * m, range(5)), range(9))
    assert inner == [[n * m for m in range(5)] for n in range(9)]


def test_the_error_of_the_first_block_reaches_the_caller(count):
    """Later ones fail, too, at once; the others end before."""
    meet = threading.Barrier(count, timeout=60)

    def fail(number):
        if number < count:
            meet.wait()
        raise ValueError(str(number))

    for _ in range(20):
        with pytest.raises(ValueError, match=r"^0$"):
            workers.run(fail, range(100))
        assert not workers.is_worker()


def test_blocks_are_taken_a_few_ahead_of_the_results(count):
    taken = []

    def blocks():
        for number in range(50):
            taken.append(number)
            yield number

    for number, (square, in_worker) in enumerate(
        workers.each(lambda n: (n * n, workers.is_worker()), blocks())
    ):
        assert square == number**2
        assert in_worker == (count > 1)
        assert len(taken) <= number + 2 + count
    assert not workers.is_worker()


def test_an_error_of_each_reaches_the_caller(count):
    del count
    with pytest.raises(ZeroDivisionError):
        list(workers.each(lambda n: 1 // (n - 5), range(1000)))


def test_picks_do_not_depend_on_threads(count):
    del count
    points = np.random.default_rng(0).normal(size=(9000, 16)).astype(np.float32)
    points[:4000] += 5
    options = {"mesh": reference.first_devices(1), "tuning": reference.WITH_CELLS}
    picked = k_center.select(points, 200, labelled=[7], **options)
    assert picked.row.tolist() == reference.greedy(points, [7], 200)
