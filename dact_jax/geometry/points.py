"""Where the points of a pool lie, and how blocks of their rows come to the devices.

A pool on the host (an array, or a file mapped into memory) is read row by row as it is
needed and never copied whole; one that lies on the devices is split over them by rows.
Every process of a distributed job holds, or maps, the whole pool of the host.
"""

import concurrent.futures
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from dact_jax import devices, errors
from dact_jax.geometry import distances
from dact_jax.types import Array

_SHARE = 0.5  # of a device's free memory that the points may take
_THREADS = min(
    8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
)
_BRIEF = 2**18  # bytes that one thread copies sooner than several


class Points(NamedTuple):
    """A pool of N points with F features, and the devices that work on it."""

    num: int  # N
    width: int  # F
    mesh: Mesh
    # Devices that hold rows of their own; 1: the host holds all, any device takes any.
    parts: int
    # int[parts * r], r rows of each part in turn -> float32[parts * r, F], split.
    split: Callable[[np.ndarray], jax.Array]
    # int[r], any rows -> float32[r, F], on every device.
    shared: Callable[[np.ndarray], jax.Array]

    @property
    def part(self) -> int:
        """Rows of a part, which begins at part * its number; padded at the end."""
        return -(-self.num // self.parts)

    @property
    def rows(self) -> int:
        """Rows of all parts: N and padding."""
        return self.part * self.parts


def make(
    features: Array, *, over: Mesh | None = None, resident: bool | None = None
) -> Points:
    """The points of a pool.

    Args:
      features: [N, F] real numbers, taken as float32: a NumPy array, `np.memmap`
        or jax array.
      over: the devices, in one axis "data"; all of them by default.
      resident: whether the pool is copied to the devices, split by rows. By default
        it is on accelerators of a single process, where it takes at most half of
        their free memory.

    Raises:
      InputError: no [N, F] array of real numbers, or without rows or features.
    """
    over = devices.make_mesh() if over is None else over
    features = _array(features)
    if resident is None:
        resident = _fits(features, over)
    return _resident(features, over) if resident else _hosted(features, over)


def blocks(points: Points, size: int) -> Iterator[tuple[np.ndarray, jax.Array]]:
    """Yields every row, some more than once: (int64[parts * size], points, split).

    Args:
      points: the pool.
      size: rows of each part in a block.
    """
    begin = np.arange(points.parts)[:, None] * points.part
    for start in range(0, points.part, size):
        rows = np.minimum(start + np.arange(size), points.part - 1)
        rows = (begin + rows).reshape(-1)
        yield rows, points.split(rows)


def sample(points: Points, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(int64[n], float32[n, F]), n <= size rows at equal distances.

    Args:
      points: the pool.
      size: how many rows.
    """
    rows = np.linspace(0, points.num - 1, min(size, points.num)).astype(np.int64)
    return rows, np.asarray(points.shared(rows))


def _array(features: Array) -> Array:
    if not isinstance(features, jax.Array | np.ndarray):
        features = np.asarray(features)
    kind = features.dtype
    real = np.issubdtype(kind, np.integer) or jnp.issubdtype(kind, np.floating)
    if features.ndim != 2 or 0 in features.shape or not real:
        raise errors.InputError(
            "features must be [N, F] real numbers, a row for each point, not "
            f"{kind} of shape {tuple(features.shape)}."
        )
    return features


def _fits(features: Array, over: Mesh) -> bool:
    stats = [device.memory_stats() for device in over.local_devices]
    # Processes must agree, and see the memory of their own devices only.
    alone = jax.process_count() == 1
    if over.devices.flat[0].platform == "cpu" or not alone or not all(stats):
        return False
    free = min(s["bytes_limit"] - s["bytes_in_use"] for s in stats if s)
    return 4 * features.size / over.size <= _SHARE * free


def _hosted(features: Array, over: Mesh) -> Points:
    features = np.asarray(features)
    width = features.shape[1]
    split, shared = devices.batched(over), devices.replicated(over)

    def rows_on(sharding: jax.sharding.Sharding) -> Callable[[np.ndarray], jax.Array]:
        def read(rows: np.ndarray) -> jax.Array:
            def some(at: Any) -> np.ndarray:
                return _take(features, rows[at[0]])

            return jax.make_array_from_callback((len(rows), width), sharding, some)

        return read

    return Points(len(features), width, over, 1, rows_on(split), rows_on(shared))


def _take(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float32[rows, F] of an array on the host, read by several threads."""
    found = _aligned((len(rows), features.shape[1]))

    def read(part: slice) -> None:
        # np.take would copy all of an array that is not contiguous.
        if features.dtype == found.dtype and features.flags.c_contiguous:
            np.take(features, rows[part], 0, out=found[part], mode="clip")
        else:
            found[part] = features[rows[part]]

    if found.nbytes <= _BRIEF or _THREADS == 1:
        read(slice(None))
        return found
    cut = np.linspace(0, len(rows), _THREADS + 1).astype(int)
    list(_threads().map(read, map(slice, cut[:-1], cut[1:])))
    return found


def _aligned(shape: tuple[int, int]) -> np.ndarray:
    """float32[shape], uninitialised, where a CPU device uses it without a copy."""
    size, align = 4 * shape[0] * shape[1], 64
    raw = np.empty(size + align, np.uint8)
    start = -raw.ctypes.data % align
    return raw[start : start + size].view(np.float32).reshape(shape)


@functools.cache
def _threads() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(_THREADS)


def _resident(features: Array, over: Mesh) -> Points:
    num, width = features.shape
    part = -(-num // over.size)

    def rows_of(at: Any) -> np.ndarray:
        rows = np.arange(part * over.size)[at[0]]
        return np.asarray(features[np.minimum(rows, num - 1)], np.float32)

    held = jax.make_array_from_callback(
        (part * over.size, width), devices.batched(over), rows_of
    )

    def split(rows: np.ndarray) -> jax.Array:
        return _own(held, devices.put(rows.astype(np.int32), over), over)

    def shared(rows: np.ndarray) -> jax.Array:
        return _any(held, devices.put(rows.astype(np.int32), over, split=False), over)

    return Points(num, width, over, over.size, split, shared)


_ROWS, _ALL = PartitionSpec("data"), PartitionSpec()


@functools.partial(jax.jit, static_argnames="over")
def _own(held: jax.Array, rows: jax.Array, over: Mesh) -> jax.Array:
    """Each device takes rows that it holds."""

    def take(held: jax.Array, rows: jax.Array) -> jax.Array:
        return held[rows - _begin(held)]

    return jax.shard_map(take, mesh=over, in_specs=(_ROWS, _ROWS), out_specs=_ROWS)(
        held, rows
    )


@functools.partial(jax.jit, static_argnames="over")
def _any(held: jax.Array, rows: jax.Array, over: Mesh) -> jax.Array:
    """Every device gets rows that any of them holds."""

    def take(held: jax.Array, rows: jax.Array) -> jax.Array:
        at = rows - _begin(held)
        here = (at >= 0) & (at < len(held))
        found = held[jnp.clip(at, 0, len(held) - 1)]
        return jax.lax.psum(jnp.where(here[:, None], found, jnp.float32(0)), "data")

    return jax.shard_map(take, mesh=over, in_specs=(_ROWS, _ALL), out_specs=_ALL)(
        held, rows
    )


def _begin(held: jax.Array) -> jax.Array:
    return jax.lax.axis_index("data").astype(jnp.int32) * jnp.int32(len(held))


def check_finite(rows: np.ndarray, finite: np.ndarray) -> None:
    """Names the lowest of some rows that are not finite, or too long.

    Args:
      rows: int[n].
      finite: bool[n].

    Raises:
      InputError: there is one.
    """
    if not finite.all():
        raise errors.InputError(
            f"features must be finite, and short enough for float32 to hold their "
            f"squared length; row {rows[~finite].min()} is not."
        )


def short(some: np.ndarray) -> np.ndarray:
    """bool[n], finite and not too long.

    Args:
      some: float32[n, F], points.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return np.square(some).sum(-1) < distances.LONGEST
