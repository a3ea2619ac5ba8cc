"""Greedy k-means++ (Arthur & Vassilvitskii, SODA 2007) with few passes over the pool.

Follows scikit-learn 1.3 and later: 2 + log k trials are drawn with probability
proportional to weight times squared distance to the nearest seed, and the trial that
leaves the least sum of these becomes the next seed.

**Fewer passes than seeds.** Many candidates are drawn at once, and one pass, by matrix
products, computes the distances of all points to all of them. A new seed only makes
distances shorter; so a candidate drawn before the last seeds, and kept with probability
(its current distance / its distance when drawn), is distributed like a candidate drawn
after them: rejection sampling. Trials are therefore distributed as if they were drawn
one seed at a time.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from dact_jax import devices, keys
from dact_jax.geometry import distances, weighted_points
from dact_jax.geometry.weighted_points import Weighted
from dact_jax.types import Key

MAX_CANDIDATES = 256  # drawn at once
_MAX_DISTANCES = 2**25  # held at once, unless the trials of one seed need more

_ALL, _GROUPS = PartitionSpec(), PartitionSpec(None, "data")


def greedy(
    view: Weighted, num: int, key: Key, *, max_candidates: int = MAX_CANDIDATES
) -> np.ndarray:
    """int64[num], rows of the seeds.

    Args:
      view: the points.
      num: k, at most the number of points with a weight.
      key: of the draws.
      max_candidates: drawn at once. The distribution of the seeds does not depend on
        it, but the seeds of a key do.
    """
    trials = 2 + int(math.log(num))
    room = max(trials, _MAX_DISTANCES // view.pool.rows)
    drawn = min(max_candidates, trials * num, room)
    weight = view.weight.astype(np.float64)
    seeds = draw(weight, _uniform(1, keys.key(key, "seed", 0)))
    nearest = _distances(view, weighted_points.rows(view, seeds))[:, :, 0]
    batch = 0
    while len(seeds) < num:
        batch += 1
        batch_key = keys.key(key, "seed", batch)
        gathered = np.asarray(_gather(nearest, mesh=view.pool.mesh))
        when_drawn = weighted_points.by_row(view, gathered)
        odds = weight * when_drawn
        if not odds.max() > 0:  # every point coincides with a seed
            more = draw(weight, _uniform(num - len(seeds), batch_key))
            return np.concatenate([seeds, more])
        level = _uniform(2 * drawn, batch_key)
        row = draw(odds, level[:drawn])
        point = weighted_points.rows(view, row)
        nearest, chosen, count = _choose(
            _distances(view, point),
            nearest,
            view.block_weight,
            point,
            when_drawn[row],
            level[drawn:],
            np.int32(num - len(seeds)),
            trials=trials,
            mesh=view.pool.mesh,
        )
        seeds = np.concatenate([seeds, row[np.asarray(chosen)[: int(count)]]])
    return seeds


def draw(odds: np.ndarray, level: np.ndarray) -> np.ndarray:
    """int64[n], rows drawn with probability proportional to odds, with replacement.

    Args:
      odds: float64[N], not negative, not all 0.
      level: float64[n], uniform in 0 .. 1.
    """
    cumulative = np.cumsum(odds)
    row = np.searchsorted(cumulative, level * cumulative[-1], side="right")
    return np.minimum(row, np.flatnonzero(odds)[-1])  # the product may round up


def _uniform(num: int, key: Key) -> np.ndarray:
    return np.asarray(jax.random.uniform(key, (num,), jnp.float64))


def _distances(view: Weighted, point: np.ndarray) -> jax.Array:
    """float32[b, n, C, G], squared distances to C centered points."""
    mesh = view.pool.mesh
    centers, origin = (devices.put(x, mesh, split=False) for x in (point, view.origin))
    group = view.block_weight.shape[-1]

    def compute(_: np.int32, x: jax.Array) -> jax.Array:
        return _block_distances(x, centers, origin, group=group, mesh=mesh)

    return _stack([block for _, block in weighted_points.blocks(view, compute)])


_stack = jax.jit(jnp.stack)


@functools.partial(jax.jit, static_argnames="mesh")
def _gather(split: jax.Array, *, mesh: Mesh) -> jax.Array:
    """The array on every device."""
    gather = functools.partial(jax.lax.all_gather, axis_name="data", axis=1, tiled=True)
    return jax.shard_map(
        gather, mesh=mesh, in_specs=_GROUPS, out_specs=_ALL, check_vma=False
    )(split)


@functools.partial(jax.jit, static_argnames=("group", "mesh"))
def _block_distances(
    x: jax.Array, centers: jax.Array, origin: jax.Array, *, group: int, mesh: Mesh
) -> jax.Array:
    def local(x: jax.Array, centers: jax.Array, origin: jax.Array) -> jax.Array:
        return jax.lax.map(
            lambda rows: distances.pairwise(centers, rows - origin[None]),
            x.reshape(-1, group, len(origin)),
        )

    split = PartitionSpec("data")
    return jax.shard_map(
        local, mesh=mesh, in_specs=(split, _ALL, _ALL), out_specs=split, check_vma=False
    )(x, centers, origin)


@functools.partial(jax.jit, static_argnames=("trials", "mesh"))
def _choose(
    squared: jax.Array,  # [b, n, C, G], squared distances to the candidates
    nearest: jax.Array,  # [b, n, G], to the nearest seed
    weight: jax.Array,  # [b, n, G]
    point: jax.Array,  # [C, F], the candidates
    when_drawn: jax.Array,  # [C], their squared distances when they were drawn
    level: jax.Array,  # float64[C], uniform
    most: jax.Array,  # int32[], seeds that are wanted
    *,
    trials: int,
    mesh: Mesh,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(nearest, int32[C / trials] candidates that became seeds, how many of those)."""
    number = jnp.arange(len(point), dtype=jnp.int32)
    rank = jnp.arange(1, trials + 1, dtype=jnp.int32)

    def local(
        squared: jax.Array, nearest: jax.Array, weight: jax.Array, between: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        def next_kept(current: jax.Array, begin: jax.Array) -> jax.Array:
            """int32[trials], the next candidates that are kept; C beyond the last."""
            threshold = level * when_drawn.astype(level.dtype)
            keep = threshold <= current.astype(level.dtype)
            keep = keep & (current > 0) & (number >= begin)
            order = jnp.cumsum(keep, dtype=jnp.int32)
            return jnp.searchsorted(order, rank, method="compare_all")

        def unfinished(state: tuple) -> jax.Array:
            _, _, trial, _, count = state
            return (trial[-1] < len(number)) & (count < most)

        def add_seed(state: tuple) -> tuple:
            nearest, current, trial, chosen, count = state
            left = jnp.minimum(nearest[:, :, None], squared[:, :, trial])
            left = weight[:, :, None] * left
            # float64: the same sum, and so the same seed, on any number of devices.
            # Groups first: XLA's sums of long rows are slow on CPUs.
            left = jnp.sum(jnp.sum(left.astype(jnp.float64), (0, 1)), -1)
            best = trial[jnp.argmin(jax.lax.psum(left, "data"))]
            nearest = jnp.minimum(nearest, squared[:, :, best])
            current = jnp.minimum(current, between[best])
            trial = next_kept(current, trial[-1] + 1)
            return nearest, current, trial, chosen.at[count].set(best), count + 1

        chosen = jnp.zeros(len(number) // trials, jnp.int32)
        trial = next_kept(when_drawn, jnp.int32(0))
        state = (nearest, when_drawn, trial, chosen, jnp.int32(0))
        nearest, _, _, chosen, count = jax.lax.while_loop(unfinished, add_seed, state)
        return nearest, chosen, count

    between = distances.pairwise(point, point)
    between = jnp.where(jnp.eye(len(point), dtype=bool), 0, between)
    return jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(_GROUPS, _GROUPS, _GROUPS, _ALL),
        out_specs=(_GROUPS, _ALL, _ALL),
        check_vma=False,
    )(squared, nearest, weight, between)
