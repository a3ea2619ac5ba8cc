"""Greedy k-center, the core-set selection of Sener & Savarese (ICLR 2018).

Equation 2 of S_AcT: again and again pick the point farthest from every point chosen
or labelled so far (the farthest-first traversal of Gonzalez, 1985). Serves on its own:
arrays in, indices out.

**Without a pass over the pool for every pick.** The loop below keeps an upper bound of
each point's distance to the centres, perhaps stale: it may not know the last ones. It
compares the points with the largest bounds with the new centres of their cell
(`cells`), which are likely to be near; brings those whose bound is still large up to
date with all centres, in blocks and by matrix products (`nearest`); takes the few
hundred largest of those as candidates; and picks greedily among these (`candidates`)
for as long as the best one is at least as far as the largest bound outside.

*Exact*: the distance to any centre, of a cell or not, bounds that to the nearest, and a
new centre only makes distances shorter, so a stale bound still bounds. A
candidate that is at least as far as every bound outside is therefore at least as far as
every point outside; among candidates distances are those of float64 differences. Where
distances tie, the lowest row wins: a tie with the outside is settled by row too. (Where
little has to be read in all, `plain_scan` passes over all points for every pick.)

*It ends*: let r be the lowest row of the largest bound. If r is stale, and still has
the largest stale bound after its cell, it is among those that are brought up to date
next; at least one stale row always is. If r is up to date, it is a candidate: either
its bound is its distance, then it is picked, or it is replaced by the distance, which
is less. So between two picks every row is brought up to date and replaced at most once.
(Where ties are not transitive, a state that no longer changes forces a pick.)

*Numerics*: products in float32 round to about 2 F 2^-24 (|x|^2 + |c|^2). Their bounds
are rounded up by as much, so picks are right all the same, but where that is more than
a fiftieth of the radius squared (tight clusters far from each other), few bounds would
tell anything: then all goes on with products in float64, and at last by differences.

*Memory*, in bytes beside the pool: 96 N + 20 F R + 49 152 F G, with R the power of two
from L + budget + 256 on (at least 1024), and G the one from N / 2^18 on (from 1 to 8):
what is known of the rows, the centres, and one block. Never N x N, never L x N. The
pool itself is copied only where it becomes resident on the devices, or where the plain
scan takes it: 24 N F, and N F <= 2^20.
"""

import operator
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from dact_jax import errors
from dact_jax.geometry import farthest_first, points
from dact_jax.geometry.farthest_first import Told
from dact_jax.types import Array, Picked


def k_center(
    features: Array,
    budget: int,
    *,
    labelled: Sequence[int] | Array | None = None,
    over: Mesh | None = None,
    resident: bool | None = None,
    told: Told | None = None,
) -> np.ndarray:
    """int32[budget], rows that cover the features, in pick order.

    The picks of a greedy in float64, the lowest row of those that tie (to 1e-12 of
    the squared distance), in a fraction of its time: see the module. Without any label
    the first pick is row 0, as in google/active-learning.

    Args:
      features: [N, F] real numbers, one row a point, taken as float32: a NumPy array, a
        memory map (which is read block by block, never copied) or a jax array.
      budget: number of picks, at most N less the labelled ones.
      labelled: int[L], rows that are chosen already, or bool[N]; none by default.
      over: the devices that share the work, in one axis "data"; all by default. Every
        process of a `jax.distributed` job must call this with the same arguments.
      resident: whether the features are copied to the devices, split by rows; by
        default on accelerators, where they fit.
      told: called with (picks so far, budget) now and then.

    Raises:
      InputError: features are no finite [N, F], a label is no row of it, or fewer than
        `budget` rows are left.
    """
    picked = select(
        features, budget, labelled=labelled, over=over, resident=resident, told=told
    )
    return picked.row


def select(
    features: Array,
    budget: int,
    *,
    labelled: Sequence[int] | Array | None = None,
    over: Mesh | None = None,
    resident: bool | None = None,
    told: Told | None = None,
) -> Picked:
    """The picks of `k_center` with their distances.

    Returns:
      Picked: row int32[budget] in pick order; score float32[budget], the Euclidean
      distance of each pick to the nearest centre at its time (inf where there was
      none).

    Raises:
      InputError: as `k_center`.
    """
    pool = points.make(features, over=over, resident=resident)
    chosen = _rows(labelled, pool.num)
    budget = _budget(budget, pool.num - len(chosen))
    first = np.zeros(1 if budget and not len(chosen) else 0, np.int32)
    told = told or (lambda done, budget: None)
    if budget == 0:
        return Picked(first, np.zeros(0, np.float32))
    with jax.enable_x64(True):
        row, distance = farthest_first.traverse(
            pool,
            np.append(chosen, first),
            budget - len(first),
            lambda done, _: told(done + len(first), budget),
        )
    distance = np.append(np.full(len(first), np.inf), distance)
    return Picked(np.append(first, row), distance.astype(np.float32))


def _rows(labelled: Sequence[int] | Array | None, num: int) -> np.ndarray:
    rows = np.asarray([] if labelled is None else labelled)
    if rows.dtype == bool and rows.shape == (num,):
        return np.flatnonzero(rows)
    if rows.ndim != 1 or (rows.size and not np.issubdtype(rows.dtype, np.integer)):
        raise errors.InputError(
            f"labelled must be row numbers (integers) or a mask bool[{num}], not "
            f"{rows.dtype} of shape {rows.shape}."
        )
    rows = np.unique(rows).astype(np.int64)
    if rows.size and not (rows[0] >= 0 and rows[-1] < num):
        raise errors.InputError(
            f"labelled must be rows 0 .. {num - 1} of the features, "
            f"got {rows[0]} .. {rows[-1]}."
        )
    return rows


def _budget(budget: int, left: int) -> int:
    try:
        budget = operator.index(budget)
    except TypeError:
        raise errors.InputError(
            f"budget must be a whole number, not {budget!r}."
        ) from None
    if not 0 <= budget <= left:
        raise errors.InputError(
            f"budget={budget} must lie between 0 and the {left} "
            "points that are not chosen yet."
        )
    return budget
