"""Shardings of arrays over all devices, along one mesh axis named "data".

Batches are split along this axis; network variables are replicated.
"""

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
    """Copies every array of `state` in full to each of all devices."""
    return jax.device_put(state, replicated(make_mesh()))
