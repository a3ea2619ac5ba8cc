"""Which devices share the work: one mesh axis, "data", that batches are split over."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def mesh() -> Mesh:
    """All devices in one axis "data"."""
    return Mesh(np.array(jax.devices()), ("data",))


def replicated(over: Mesh) -> NamedSharding:
    """The same values on every device."""
    return NamedSharding(over, PartitionSpec())


def batched(over: Mesh, axis: int = 0) -> NamedSharding:
    """Rows of the given axis split over the devices."""
    return NamedSharding(over, PartitionSpec(*[None] * axis, "data"))
