"""Which devices share the work: one mesh axis, "data", that batches are split over."""

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dact_jax.types import Array, PyTree


def mesh() -> Mesh:
    """All devices in one axis "data"."""
    return Mesh(np.array(jax.devices()), ("data",))


def replicated(over: Mesh) -> NamedSharding:
    """The same values on every device."""
    return NamedSharding(over, PartitionSpec())


def batched(over: Mesh, axis: int = 0) -> NamedSharding:
    """Rows of the given axis split over the devices."""
    return NamedSharding(over, PartitionSpec(*[None] * axis, "data"))


def put(values: Array, over: Mesh, *, split: bool = True) -> jax.Array:
    """An array that every process has, on the devices.

    Args:
      values: a NumPy array.
      over: the devices.
      split: by rows; else whole on every device.
    """
    sharding = batched(over) if split else replicated(over)
    return jax.make_array_from_callback(values.shape, sharding, lambda at: values[at])


def agreed(values: Any) -> Any:
    """What process 0 found, in every process: their rounding may differ.

    Args:
      values: NumPy arrays or scalars, of the same shapes in all.
    """
    if jax.process_count() == 1:
        return values
    found = multihost_utils.broadcast_one_to_all(values)
    return jax.tree.map(np.asarray, found)


def replicate(state: PyTree) -> PyTree:
    """The same arrays on every device."""
    return jax.device_put(state, replicated(mesh()))
