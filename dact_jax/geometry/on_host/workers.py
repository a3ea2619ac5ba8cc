"""Threads that compute on blocks of rows at the same time.

Copying rows, products and most of NumPy leave Python to other threads. The products of
a block are too small to be shared by several cores: each core takes blocks of its own.
A thread that waits for another wakes only some 25 microseconds after the other is done,
so blocks should call NumPy rarely, and for long.
"""

import concurrent.futures
import contextlib
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import threadpoolctl  # type: ignore[import-untyped]

COUNT = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
Block = TypeVar("Block")
Result = TypeVar("Result")
_thread = threading.local()


def each(
    compute: Callable[[Block], Result], blocks: Iterable[Block]
) -> Iterator[Result]:
    """Yields compute(block) for each block, in their order; threads compute.

    Args:
      compute: called by several threads at a time.
      blocks: the caller's thread takes them, a few ahead of the results.
    """
    if COUNT == 1:
        yield from map(compute, blocks)
        return
    waiting: deque[concurrent.futures.Future[Result]] = deque()
    try:
        for block in blocks:
            waiting.append(executor().submit(compute, block))
            if len(waiting) > COUNT:  # one in reserve, so that no thread has to wait
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def run(compute: Callable[[Block], Result], blocks: Iterable[Block]) -> list[Result]:
    """The results compute(block) of all blocks, in their order.

    The calling thread computes, too. Where blocks fail, the error of the first of these
    is raised.

    Args:
      compute: called by several threads at a time.
      blocks: each thread takes the next one when it has finished another.
    """
    waiting = list(enumerate(blocks))[::-1]
    helpers = min(COUNT, len(waiting)) - 1
    if helpers < 1 or is_worker():
        return [compute(block) for _, block in reversed(waiting)]
    results: dict[int, Result] = {}
    failed: dict[int, BaseException] = {}

    def work() -> None:
        while waiting and not failed:
            try:
                number, block = waiting.pop()
            except IndexError:  # another thread was faster
                return
            try:
                results[number] = compute(block)
            except BaseException as error:  # raised by the calling thread
                failed[number] = error

    started = [executor().submit(work) for _ in range(helpers)]
    _thread.is_worker = True
    try:
        work()
    finally:
        _thread.is_worker = False
    for future in started:
        if not future.cancel():
            future.result()
    if failed:
        raise failed[min(failed)]
    return [results[number] for number in range(len(results))]


def one_thread_a_product() -> contextlib.AbstractContextManager[object]:
    """On several threads a small product takes longer, and other threads wait."""
    return _blas().limit(limits=1, user_api="blas")


@functools.cache
def _blas() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


def is_worker() -> bool:
    """Whether the calling thread computes a block."""
    return getattr(_thread, "is_worker", False)


@functools.cache
def executor() -> concurrent.futures.ThreadPoolExecutor:
    """The threads, COUNT of them."""
    return concurrent.futures.ThreadPoolExecutor(COUNT, initializer=_mark)


def _mark() -> None:
    _thread.is_worker = True
