"""Shardings of arrays over all devices, along one mesh axis named "data".

Batches are split along this axis; network variables are replicated.
"""

import functools
import os
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dact_jax import errors
from dact_jax.types import Array, PyTree


def check() -> None:
    """Checks that jax has a device, before anything else needs one.

    Raises:
      InputError: the platforms that JAX_PLATFORMS names are not there.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        names = os.environ.get("JAX_PLATFORMS", "")
        reason = f" ({errors.clause(error)})" if str(error) else ""
        raise errors.InputError(
            f"jax finds no device for JAX_PLATFORMS={names!r}{reason}: unset it, or "
            "install jax for that platform."
        ) from None


def make_mesh() -> Mesh:
    """One-dimensional mesh of all devices of all processes; its axis is "data"."""
    return Mesh(np.array(jax.devices()), ("data",))


def mesh_of(tree: PyTree) -> Mesh:
    """The mesh of the devices that arrays lie on, or of those of this process alone.

    With one process it is that of all devices. With several, arrays that lie on the
    devices of this process alone (`local_copy`) are computed on by it alone.
    """
    if any(map(_is_shared, jax.tree.leaves(tree))):
        return make_mesh()
    return Mesh(np.array(jax.local_devices()), ("data",))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of an array that every device of the mesh holds in full."""
    return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Sharding of an array whose given axis is split evenly over the mesh."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))


def put(values: Array, mesh: Mesh, *, split: bool = True) -> jax.Array:
    """Copies an array to the devices of a mesh, which may span processes.

    Args:
      values: equal in all processes. Each process copies only the parts that its own
        devices hold.
      split: True: split evenly along axis 0, whose length is a multiple of the number
        of devices. False: replicated.
    """
    sharding = batched(mesh) if split else replicated(mesh)
    return jax.make_array_from_callback(
        values.shape, sharding, lambda index: values[index]
    )


def local_rows(size: int, mesh: Mesh) -> np.ndarray:
    """int64[n], the rows of a batch of `size` that the devices of this process get."""
    if not mesh.is_multi_process:
        return np.arange(size)
    indices = batched(mesh).addressable_devices_indices_map((size,)).values()
    rows = [np.arange(size)[index] for index in indices if index is not None]
    return np.unique(np.concatenate(rows))


def put_rows(values: Array, size: int, mesh: Mesh, *, axis: int = 0) -> jax.Array:
    """An array that is split along an axis, of which each process has some rows.

    Args:
      values: along the axis, the `local_rows` of this process only.
      size: of the axis of the whole array.
    """
    if not mesh.is_multi_process:
        return jax.device_put(values, batched(mesh, axis))
    shape = (*values.shape[:axis], size, *values.shape[axis + 1 :])
    rows = local_rows(size, mesh)

    def shard(index: Any) -> Array:
        begin, end, _ = index[axis].indices(size)
        first = int(np.searchsorted(rows, begin))
        return np.take(values, range(first, first + end - begin), axis)

    return jax.make_array_from_callback(shape, batched(mesh, axis), shard)


def whole(array: jax.Array) -> np.ndarray:
    """An array that is split over devices, in every process on the host."""
    if _is_shared(array) and not array.is_fully_replicated:
        array = _gather(array, replicated(make_mesh()))
    return np.asarray(array)


@functools.partial(jax.jit, static_argnums=1)
def _gather(array: jax.Array, sharding: NamedSharding) -> jax.Array:
    return jax.lax.with_sharding_constraint(array, sharding)


def local_copy(tree: PyTree) -> PyTree:
    """The tree with replicated arrays on a device of this process alone, uncopied.

    What one process does by itself, such as drawing, must not wait for the others.
    """

    def local(leaf: Any) -> Any:
        return leaf.addressable_data(0) if _is_shared(leaf) else leaf

    return jax.tree.map(local, tree)


def _is_shared(leaf: Any) -> bool:
    """Whether an array lies on the devices of several processes."""
    return isinstance(leaf, jax.Array) and not leaf.is_fully_addressable


def from_process_0(values: Any) -> Any:
    """The values of process 0, in every process.

    Results of the same computation may be rounded differently in each process, and
    decisions that depend on them must not differ.

    Args:
      values: PyTree of NumPy arrays or scalars, with the same shapes in all processes.

    Returns:
      The same PyTree with NumPy arrays as leaves; with one process, `values` itself.
    """
    if jax.process_count() == 1:
        return values
    broadcast = multihost_utils.broadcast_one_to_all(values)
    return jax.tree.map(np.asarray, broadcast)


def replicate(state: PyTree) -> PyTree:
    """Copies every array of `state` in full to each of all devices.

    Args:
      state: with the same numbers in all processes.
    """
    mesh = make_mesh()
    if jax.process_count() == 1:
        return jax.device_put(state, replicated(mesh))

    def copy(leaf: Any) -> jax.Array:
        # Of arrays that are its own, jax would compare those of all processes.
        is_local = not _is_shared(leaf)
        return put(np.asarray(leaf), mesh, split=False) if is_local else leaf

    return jax.tree.map(copy, state)
