"""Where the points of a pool are stored, and how their rows reach the devices.

A pool on the host (an array, or a memory-mapped file) is read row by row as needed and
never copied as a whole; a pool on the devices is split over them by rows. Every process
of a distributed job holds, or maps, the whole pool of the host.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from dact_jax import devices, vectors
from dact_jax.geometry.on_host import workers
from dact_jax.types import Array
from dact_jax.vectors import Form

_MEMORY_SHARE = 0.5  # of a device's free memory that the points may take
_ONE_THREAD_BYTES = 2**18  # that one thread copies faster than several


class Points(NamedTuple):
    """A pool of N points with F features, and the devices that work on it."""

    num: int  # N
    width: int  # F
    mesh: Mesh
    # Devices that hold rows of their own; 1: the host holds all rows.
    parts: int
    # int[parts * r], r rows of each part in turn -> float[parts * r, F], split.
    read_split: Callable[[np.ndarray], jax.Array]
    # int[r], any rows -> float[r, F], on every device.
    read_replicated: Callable[[np.ndarray], jax.Array]
    # Where the only device is the CPU, and holds no copy of the pool: int[r] -> a copy
    # float[r, F]; a slice -> perhaps a view. Then NumPy computes, else the devices do.
    read_on_host: Callable[[np.ndarray | slice], np.ndarray] | None = None

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
    features: Array,
    *,
    mesh: Mesh | None = None,
    resident: bool | None = None,
    precise: bool = False,
) -> Points:
    """The points of a pool.

    Args:
      features: [N, F] real numbers: a NumPy array, `np.memmap` or jax array.
      mesh: the devices, in one axis "data"; all of them by default.
      resident: whether the pool is copied to the devices, split by rows. By default
        it is on accelerators of a single process, where it takes at most half of
        their free memory.
      precise: whether points are float64 where float32 cannot hold the features' dtype
        (then `jax.enable_x64` must be on); otherwise they are always float32.

    Raises:
      InputError: features are not an [N, F] array of real numbers, or are empty.
    """
    mesh = devices.make_mesh() if mesh is None else mesh
    features = vectors.matrix(features)
    form = vectors.precise_form(features) if precise else vectors.FLOAT32
    if resident is None:
        resident = _fits(features, mesh, form.dtype.itemsize)
    make_points = _resident if resident else _hosted
    return make_points(features, mesh, form)


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


def read(points: Points, rows: np.ndarray) -> np.ndarray:
    """float[r, F], any rows int[r], on the host; every process gets them."""
    if points.read_on_host is not None:
        return points.read_on_host(rows)
    return np.asarray(points.read_replicated(rows))


def sample(points: Points, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(int64[n] rows, float32[n, F] points), n <= size equally spaced rows."""
    rows = np.linspace(0, points.num - 1, min(size, points.num)).astype(np.int64)
    return rows, read(points, rows)


def _fits(features: Array, mesh: Mesh, size: int) -> bool:
    stats = [device.memory_stats() for device in mesh.local_devices]
    # Processes must agree, but each sees the memory of its own devices only.
    single_process = jax.process_count() == 1
    if mesh.devices.flat[0].platform == "cpu" or not single_process or not all(stats):
        return False
    free = min(s["bytes_limit"] - s["bytes_in_use"] for s in stats if s)
    return size * features.size / mesh.size <= _MEMORY_SHARE * free


def _hosted(features: Array, mesh: Mesh, form: Form) -> Points:
    features = np.asarray(features)
    width = features.shape[1]
    split, replicated = devices.batched(mesh), devices.replicated(mesh)

    def reader(sharding: jax.sharding.Sharding) -> Callable[[np.ndarray], jax.Array]:
        def read(rows: np.ndarray) -> jax.Array:
            def shard(index: Any) -> np.ndarray:
                return _take(features, rows[index[0]], form)

            return jax.make_array_from_callback((len(rows), width), sharding, shard)

        return read

    def read_on_host(rows: np.ndarray | slice) -> np.ndarray:
        if isinstance(rows, slice):
            part = features[rows]
            return part if part.dtype == form.dtype else vectors.cast(part, form)
        return _take(features, rows, form)

    alone = mesh.size == 1 and mesh.devices.flat[0].platform == "cpu"
    return Points(
        len(features),
        width,
        mesh,
        1,
        reader(split),
        reader(replicated),
        read_on_host if alone else None,
    )


def _take(
    features: np.ndarray, rows: np.ndarray, form: Form = vectors.FLOAT32
) -> np.ndarray:
    """[rows, F], rows of an array on the host, copied by several threads."""
    copy = _aligned((len(rows), features.shape[1]), form.dtype)

    def read(part: slice) -> None:
        # np.take would copy all of an array that is not contiguous.
        if features.dtype == copy.dtype and features.flags.c_contiguous:
            np.take(features, rows[part], 0, out=copy[part], mode="clip")
        else:
            copy[part] = vectors.cast(features[rows[part]], form)

    count = 1 if copy.nbytes <= _ONE_THREAD_BYTES else workers.COUNT
    if count == 1 or workers.is_worker():
        read(slice(None))
        return copy
    cut = np.linspace(0, len(rows), count + 1).astype(int)
    workers.run(read, map(slice, cut[:-1], cut[1:]))
    return copy


def _aligned(shape: tuple[int, int], dtype: np.dtype[Any]) -> np.ndarray:
    """dtype[shape], uninitialized, aligned so that a CPU device need not copy it."""
    size, align = dtype.itemsize * shape[0] * shape[1], 64
    raw = np.empty(size + align, np.uint8)
    start = -raw.ctypes.data % align
    return raw[start : start + size].view(dtype).reshape(shape)


def _resident(features: Array, mesh: Mesh, form: Form) -> Points:
    num, width = features.shape
    part = -(-num // mesh.size)

    def shard(index: Any) -> np.ndarray:
        rows = np.arange(part * mesh.size)[index[0]]
        return vectors.cast(np.asarray(features[np.minimum(rows, num - 1)]), form)

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
        points = jnp.where(is_local[:, None], points, jnp.zeros((), points.dtype))
        return jax.lax.psum(points, "data")

    return jax.shard_map(take, mesh=mesh, in_specs=(_ROWS, _ALL), out_specs=_ALL)(
        held, rows
    )


def _first_row(held: jax.Array) -> jax.Array:
    return jax.lax.axis_index("data").astype(jnp.int32) * jnp.int32(len(held))
