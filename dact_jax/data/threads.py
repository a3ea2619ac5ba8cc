"""Work on many items by all cores, in threads."""

import os
from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Any, TypeVar

T = TypeVar("T")


def map_in_order(function: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    """function of each item, in order; decoding releases the interpreter lock."""
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))
