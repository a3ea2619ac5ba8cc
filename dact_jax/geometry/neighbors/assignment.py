"""The nearest of few centers for every row of a pool."""

import numpy as np

from dact_jax import devices, vectors
from dact_jax.geometry import distances
from dact_jax.geometry.on_host import workers
from dact_jax.types import Array

_ROWS = 1024  # compared at once, by a thread


def nearest_center(points: Array, centers: Array) -> np.ndarray:
    """int32[N], the number of the nearest center; the lowest of those that tie.

    By products of float64 on the host. Where these cannot tell two centers apart,
    differences in float64 decide.

    Args:
      points: [N, F] real numbers, read in blocks.
      centers: [C, F], of about the same origin.

    Raises:
      InputError: a row is not finite, or too long.
    """
    host, centers = np.asarray(points), np.asarray(centers, np.float64)
    vectors.check(host, "points")
    origin = centers.mean(0)
    placed = centers - origin
    norm = np.einsum("cf,cf->c", placed, placed)
    error = distances.relative_error(centers.shape[1], "float64")

    def find(rows: slice) -> np.ndarray:
        x = host[rows].astype(np.float64)
        moved = x - origin
        value = norm - 2 * moved @ placed.T
        nearest = value.argmin(1)
        least = np.take_along_axis(value, nearest[:, None], 1)
        length = np.einsum("nf,nf->n", moved, moved)[:, None]
        near = value <= least + 2 * error * (length + norm.max())
        for row in np.flatnonzero(near.sum(1) > 1):
            center = np.flatnonzero(near[row])
            gap = centers[center] - x[row]
            nearest[row] = center[np.einsum("cf,cf->c", gap, gap).argmin()]
        return nearest.astype(np.int32)

    blocks = (slice(i, i + _ROWS) for i in range(0, len(host), _ROWS))
    with workers.one_thread_a_product():
        found = np.concatenate(list(workers.each(find, blocks)))
    return devices.from_process_0(found)
