"""What tests of the geometry compare with, and sizes that make small pools hard."""

import jax
import numpy as np
from jax.sharding import Mesh

from dact_jax.geometry.nearest import Tiles
from dact_jax.geometry.tuning import Tuning

BLOCKS = Tuning(scan_numbers=0)  # in blocks, however small the pool is
# Blocks, tiles and candidates so small that few points need many of them.
TINY = BLOCKS._replace(
    block=1,
    all_centers_block=1,
    few_centers=6,
    cell_pairs=0,
    small_tiles=Tiles(16, 4),
    large_tiles=Tiles(16, 8),
    candidates=6,
    center_room=64,
    accelerator_tiles=Tiles(16, 8),
)
# Without cells, and with cells from the first center on.
WITHOUT_CELLS = BLOCKS._replace(
    cell_pairs=0, few_centers=10, cell_variance=-1, max_cells=1
)
WITH_CELLS = WITHOUT_CELLS._replace(max_cells=16)


def greedy(points, centers, budget):
    """Picks in float64, as the definition reads; the lowest row wins ties."""
    points = points.astype(np.float64)
    nearest = np.full(len(points), np.inf)
    for center in centers:
        nearest = np.minimum(nearest, ((points - points[center]) ** 2).sum(-1))
    nearest[list(centers)] = -1
    picks = []
    for _ in range(budget):
        picks.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((points - points[picks[-1]]) ** 2).sum(-1))
        nearest[picks] = -1
    return picks


def squared_distances(points, centers):
    """float64[N, C], by differences."""
    return ((points[:, None].astype(np.float64) - centers) ** 2).sum(-1)


def first_devices(num):
    return Mesh(np.array(jax.devices()[:num]), ("data",))


def greedy_of_each(points, is_center, budget):
    """int[P, N] picks of `greedy` in P pools of N points, -1 beyond each budget.

    Args:
      points: float32[P, N, F].
      is_center: bool[P, N].
      budget: int[P].
    """
    points = points.astype(np.float64)
    squared = ((points[:, :, None] - points[:, None]) ** 2).sum(-1)  # [P, N, N]
    nearest = np.min(squared, 2, initial=np.inf, where=is_center[:, None])
    nearest[is_center] = -1
    pools = np.arange(len(points))
    picks = np.full(nearest.shape, -1)
    for number in range(budget.max()):
        row = nearest.argmax(1)
        picks[:, number] = np.where(number < budget, row, -1)
        nearest = np.minimum(nearest, squared[pools, row])
        nearest[pools, row] = -1
        # A picked or labelled row stays at -1: no distance is negative.
    return picks
