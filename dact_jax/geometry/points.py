"""Where the points of a pool are stored, and how their rows reach the devices.

A pool on the host (an array, or a memory-mapped file) is read row by row as needed and
never copied as a whole; a pool on the devices is split over them by rows. Every process
of a distributed job holds, or maps, the whole pool of the host.
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

_MEMORY_SHARE = 0.5  # of a device's free memory that the points may take
_THREADS = min(
    8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
)
_CHECKED_ROWS = 4096  # at once
_ONE_THREAD_BYTES = 2**18  # that one thread copies faster than several


class Points(NamedTuple):
    """A pool of N points with F features, and the devices that work on it."""

    num: int  # N
    width: int  # F
    mesh: Mesh
    # Devices that hold rows of their own; 1: the host holds all rows.
    parts: int
    # int[parts * r], r rows of each part in turn -> float32[parts * r, F], split.
    read_split: Callable[[np.ndarray], jax.Array]
    # int[r], any rows -> float32[r, F], on every device.
    read_replicated: Callable[[np.ndarray], jax.Array]

    @property
    def part(self) -> int:
        """Rows of a part, padding included; part k begins at row k * part."""
        return -(-self.num // self.parts)

    @property
    def rows(self) -> int:
        """Rows of all parts: N and padding."""
        return self.part * self.parts

    @property
    def on_cpu(self) -> bool:
        """Whether the devices are CPUs."""
        return bool(self.mesh.devices.flat[0].platform == "cpu")


def make(
    features: Array, *, mesh: Mesh | None = None, resident: bool | None = None
) -> Points:
    """The points of a pool.

    Args:
      features: [N, F] real numbers, taken as float32: a NumPy array, `np.memmap` or jax
        array.
      mesh: the devices, in one axis "data"; all of them by default.
      resident: whether the pool is copied to the devices, split by rows. By default
        it is on accelerators of a single process, where it takes at most half of
        their free memory.

    Raises:
      InputError: features are not an [N, F] array of real numbers, or are empty.
    """
    mesh = devices.make_mesh() if mesh is None else mesh
    features = _array(features)
    if resident is None:
        resident = _fits(features, mesh)
    return _resident(features, mesh) if resident else _hosted(features, mesh)


def blocks(points: Points, size: int) -> Iterator[tuple[np.ndarray, jax.Array]]:
    """Yields (int64[parts * size] rows, their points, split), until all rows came.

    The last block repeats the last row of each part to keep its shape.

    Args:
      points: the pool.
      size: rows of each part in a block.
    """
    begin = np.arange(points.parts)[:, None] * points.part
    for first in range(0, points.part, size):
        rows = np.minimum(first + np.arange(size), points.part - 1)
        rows = (begin + rows).reshape(-1)
        yield rows, points.read_split(rows)


def sample(points: Points, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(int64[n] rows, float32[n, F] points), n <= size equally spaced rows."""
    rows = np.linspace(0, points.num - 1, min(size, points.num)).astype(np.int64)
    return rows, np.asarray(points.read_replicated(rows))


def _array(features: Array) -> Array:
    if not isinstance(features, jax.Array | np.ndarray):
        features = np.asarray(features)
    dtype = features.dtype
    real = np.issubdtype(dtype, np.integer) or jnp.issubdtype(dtype, np.floating)
    if features.ndim != 2 or 0 in features.shape or not real:
        raise errors.InputError(
            "features must be [N, F] real numbers, one row per point, not "
            f"{dtype} of shape {tuple(features.shape)}."
        )
    return features


def _fits(features: Array, mesh: Mesh) -> bool:
    stats = [device.memory_stats() for device in mesh.local_devices]
    # Processes must agree, but each sees the memory of its own devices only.
    single_process = jax.process_count() == 1
    if mesh.devices.flat[0].platform == "cpu" or not single_process or not all(stats):
        return False
    free = min(s["bytes_limit"] - s["bytes_in_use"] for s in stats if s)
    return 4 * features.size / mesh.size <= _MEMORY_SHARE * free


def _hosted(features: Array, mesh: Mesh) -> Points:
    features = np.asarray(features)
    width = features.shape[1]
    split, replicated = devices.batched(mesh), devices.replicated(mesh)

    def reader(sharding: jax.sharding.Sharding) -> Callable[[np.ndarray], jax.Array]:
        def read(rows: np.ndarray) -> jax.Array:
            def shard(index: Any) -> np.ndarray:
                return _take(features, rows[index[0]])

            return jax.make_array_from_callback((len(rows), width), sharding, shard)

        return read

    return Points(len(features), width, mesh, 1, reader(split), reader(replicated))


def _take(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float32[rows, F], rows of an array on the host, copied by several threads."""
    copy = _aligned((len(rows), features.shape[1]))

    def read(part: slice) -> None:
        # np.take would copy all of an array that is not contiguous.
        if features.dtype == copy.dtype and features.flags.c_contiguous:
            np.take(features, rows[part], 0, out=copy[part], mode="clip")
        else:
            copy[part] = features[rows[part]]

    if copy.nbytes <= _ONE_THREAD_BYTES or _THREADS == 1:
        read(slice(None))
        return copy
    cut = np.linspace(0, len(rows), _THREADS + 1).astype(int)
    list(_threads().map(read, map(slice, cut[:-1], cut[1:])))
    return copy


def _aligned(shape: tuple[int, int]) -> np.ndarray:
    """float32[shape], uninitialized, aligned so that a CPU device need not copy it."""
    size, align = 4 * shape[0] * shape[1], 64
    raw = np.empty(size + align, np.uint8)
    start = -raw.ctypes.data % align
    return raw[start : start + size].view(np.float32).reshape(shape)


@functools.cache
def _threads() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(_THREADS)


def _resident(features: Array, mesh: Mesh) -> Points:
    num, width = features.shape
    part = -(-num // mesh.size)

    def shard(index: Any) -> np.ndarray:
        rows = np.arange(part * mesh.size)[index[0]]
        return np.asarray(features[np.minimum(rows, num - 1)], np.float32)

    held = jax.make_array_from_callback(
        (part * mesh.size, width), devices.batched(mesh), shard
    )

    def read_split(rows: np.ndarray) -> jax.Array:
        return _take_local(held, devices.put(rows.astype(np.int32), mesh), mesh)

    def read_replicated(rows: np.ndarray) -> jax.Array:
        rows_everywhere = devices.put(rows.astype(np.int32), mesh, split=False)
        return _take_any(held, rows_everywhere, mesh)

    return Points(num, width, mesh, mesh.size, read_split, read_replicated)


_ROWS, _ALL = PartitionSpec("data"), PartitionSpec()


@functools.partial(jax.jit, static_argnames="mesh")
def _take_local(held: jax.Array, rows: jax.Array, mesh: Mesh) -> jax.Array:
    """Each device takes rows that it holds."""

    def take(held: jax.Array, rows: jax.Array) -> jax.Array:
        return held[rows - _first_row(held)]

    return jax.shard_map(take, mesh=mesh, in_specs=(_ROWS, _ROWS), out_specs=_ROWS)(
        held, rows
    )


@functools.partial(jax.jit, static_argnames="mesh")
def _take_any(held: jax.Array, rows: jax.Array, mesh: Mesh) -> jax.Array:
    """Every device gets rows that any of them holds."""

    def take(held: jax.Array, rows: jax.Array) -> jax.Array:
        at = rows - _first_row(held)
        is_local = (at >= 0) & (at < len(held))
        points = held[jnp.clip(at, 0, len(held) - 1)]
        points = jnp.where(is_local[:, None], points, jnp.float32(0))
        return jax.lax.psum(points, "data")

    return jax.shard_map(take, mesh=mesh, in_specs=(_ROWS, _ALL), out_specs=_ALL)(
        held, rows
    )


def _first_row(held: jax.Array) -> jax.Array:
    return jax.lax.axis_index("data").astype(jnp.int32) * jnp.int32(len(held))


def check(values: Array, name: str) -> None:
    """Checks rows as k-center does, block by block; for all that rank rows by numbers.

    Args:
      values: [N, columns] real numbers.
      name: of the values, for messages.

    Raises:
      InputError: a row holds NaN or infinity, or is too long.
    """
    for start in range(0, len(values), _CHECKED_ROWS):
        block = np.asarray(values[start : start + _CHECKED_ROWS])
        check_valid(start + np.arange(len(block)), valid(block), name)


def check_valid(rows: np.ndarray, valid: np.ndarray, name: str = "features") -> None:
    """Raises an InputError that names the lowest row that is not valid.

    Args:
      rows: int[n].
      valid: bool[n], whether a row is finite and not too long.
      name: of what has these rows.
    """
    if not valid.all():
        raise errors.InputError(
            f"{name} must be finite, without NaN, and short enough for float32 to hold "
            f"the squared length of a row; row {rows[~valid].min()} is not."
        )


def valid(points: np.ndarray) -> np.ndarray:
    """bool[n], whether rows of real numbers [n, F] are finite and not too long."""
    with np.errstate(over="ignore", invalid="ignore"):
        squared_norm = np.square(points.astype(np.float32)).sum(-1)
        return squared_norm < distances.MAX_SQUARED_NORM
