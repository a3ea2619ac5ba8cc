"""Sizes that decide how fast k-center runs and how much memory it takes."""

from typing import NamedTuple

from dact_jax.geometry.nearest import Tiles


class Tuning(NamedTuple):
    """Trade-offs of speed and memory; picks are the same whatever the values are.

    `experiments/bench_selection.py` measures the time that they give.
    """

    # A plain scan over the pool for every pick is faster than blocks on a small job,
    # and compiles nothing:
    # numbers in the pool (N F), and numbers read in all (N F centers), at most.
    scan_numbers: int = 2**20
    scan_reads: int = 2**26
    # Points among which picks are made at once. A pick costs as many operations, and
    # their table of distances has the square of it.
    candidates: int = 256
    # Of these, points nearer than the farthest point outside may be: they cannot be
    # picked, but tell how far the points are that follow.
    spare_candidates: int = 64
    # Points compared with centers before the host looks at all bounds again. A larger
    # block needs fewer looks, but compares points that need not have been.
    block: int = 4096
    # The same for comparisons with all centers, after those in the points' cells.
    all_centers_block: int = 512
    # In pools of more than `large_pool` rows, blocks grow with the pool, `max_growth`
    # times at most: each look at the bounds costs time proportional to the rows.
    large_pool: int = 2**18
    max_growth: int = 8
    # Up to this number of centers, blocks are not reduced to `all_centers_block`:
    # comparing with few centers is cheap.
    few_centers: int = 128
    # Up to this number of centers, NumPy compares with all of them at once.
    few_on_host: int = 32
    # From this number of pairs of points and centers on, cells pay off (CPUs only).
    cell_pairs: int = 2**22
    # Most cells; with more, fewer products, but more points near the edge of a cell.
    max_cells: int = 16
    # Fewest centers per cell on average, so that a cell saves more than it costs.
    cell_centers: int = 8
    # Least share of the variance that cells must explain, or only one is used.
    cell_variance: float = 0.1
    # Rows, equally spaced, from which the frame and the cells are computed.
    sample: int = 512
    # Tiles (points, centers) of matrix products: on CPUs for comparisons with few and
    # with many centers, chosen for the cache; on accelerators for all.
    small_tiles: Tiles = Tiles(64, 8)
    large_tiles: Tiles = Tiles(256, 32)
    accelerator_tiles: Tiles = Tiles(1024, 64)
    # Least number of centers that arrays have room for: shapes, and so compiled
    # programs, stay the same while a pool's labels grow.
    center_room: int = 1024
    # Largest error of products, as a share of the squared covering radius, before all
    # continues in a more precise mode; with a larger one bounds exclude too few points.
    mode_error: float = 1 / 50
    # Largest error of the candidates' table of products, as a share of the squared
    # covering radius; above it, candidates are compared by differences.
    table_error: float = 2.0**-24


DEFAULT = Tuning()
