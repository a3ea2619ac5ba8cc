"""Greedy k-means++ (Arthur & Vassilvitskii, SODA 2007) with few passes over the pool.

By the rules of scikit-learn 1.3 and later: 2 + log k trials are drawn with probability
proportional to weight times squared distance to the nearest seed, and the one that
leaves the least of it becomes the next seed.

**Without a pass over the pool for every seed.** Many candidates are drawn at once, and
one pass, by matrix products, measures all points against all of them. A seed only makes
distances shorter; so a candidate that was drawn before the last seeds, and is kept with
probability (its distance now / its distance then), is a draw of now: rejection
sampling. Trials are therefore distributed as if they were drawn one seed at a time.
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

CANDIDATES = 256  # most that are drawn at once
_HELD = 2**25  # most distances held at once, where trials are not more

_HIGHEST = jax.lax.Precision.HIGHEST  # differences of large numbers follow
_ALL, _GROUPS = PartitionSpec(), PartitionSpec(None, "data")


def greedy(view: Weighted, num: int, key: Key) -> np.ndarray:
    """int64[num], rows of the seeds.

    Args:
      view: the points.
      num: k, at most the number of points with a weight.
      key: decides the draws.
    """
    trials = 2 + int(math.log(num))
    room = max(trials, _HELD // view.pool.rows)
    drawn = min(CANDIDATES, trials * num, room)
    mass = view.mass.astype(np.float64)
    seeds = draw(mass, _uniform(1, keys.key(key, "seed", 0)))
    near = _measure(view, weighted_points.rows(view, seeds))[:, :, 0]
    batch = 0
    while len(seeds) < num:
        batch += 1
        one = keys.key(key, "seed", batch)
        then = weighted_points.by_row(
            view, np.asarray(_whole(near, over=view.pool.mesh))
        )
        left = mass * then
        if not left.max() > 0:  # all points are seeds: any other is as good
            more = draw(mass, _uniform(num - len(seeds), one))
            return np.concatenate([seeds, more])
        level = _uniform(2 * drawn, one)
        row = draw(left, level[:drawn])
        point = weighted_points.rows(view, row)
        near, chosen, count = _choose(
            _measure(view, point),
            near,
            view.weight,
            point,
            then[row],
            level[drawn:],
            np.int32(num - len(seeds)),
            trials=trials,
            over=view.pool.mesh,
        )
        seeds = np.concatenate([seeds, row[np.asarray(chosen)[: int(count)]]])
    return seeds


def draw(mass: np.ndarray, level: np.ndarray) -> np.ndarray:
    """int64[n], rows with probability proportional to mass, with replacement.

    Args:
      mass: float64[N], not negative, not all 0.
      level: float64[n], uniform in 0 .. 1.
    """
    below = np.cumsum(mass)
    row = np.searchsorted(below, level * below[-1], side="right")
    return np.minimum(row, np.flatnonzero(mass)[-1])  # the product may round up


def _uniform(num: int, key: Key) -> np.ndarray:
    return np.asarray(jax.random.uniform(key, (num,), jnp.float64))


def _measure(view: Weighted, point: np.ndarray) -> jax.Array:
    """float32[b, n, C, G], squared distances to C centred points."""
    over = view.pool.mesh
    centers, origin = (devices.put(x, over, split=False) for x in (point, view.origin))
    group = view.weight.shape[-1]

    def work(_: np.int32, x: jax.Array) -> jax.Array:
        return _squared(x, centers, origin, group=group, over=over)

    return _stack([found for _, found in weighted_points.blocks(view, work)])


_stack = jax.jit(jnp.stack)


@functools.partial(jax.jit, static_argnames="over")
def _whole(split: jax.Array, *, over: Mesh) -> jax.Array:
    """The array on every device."""
    gather = functools.partial(jax.lax.all_gather, axis_name="data", axis=1, tiled=True)
    return jax.shard_map(
        gather, mesh=over, in_specs=_GROUPS, out_specs=_ALL, check_vma=False
    )(split)


@functools.partial(jax.jit, static_argnames=("group", "over"))
def _squared(
    x: jax.Array, centers: jax.Array, origin: jax.Array, *, group: int, over: Mesh
) -> jax.Array:
    def local(x: jax.Array, centers: jax.Array, origin: jax.Array) -> jax.Array:
        return jax.lax.map(
            lambda one: _distances(centers, one - origin[None]),
            x.reshape(-1, group, len(origin)),
        )

    rows = PartitionSpec("data")
    return jax.shard_map(
        local, mesh=over, in_specs=(rows, _ALL, _ALL), out_specs=rows, check_vma=False
    )(x, centers, origin)


def _distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """float32[A, B], squared."""
    product = jnp.matmul(a, b.T, precision=_HIGHEST)
    length = distances.squared_length(a)[:, None] + distances.squared_length(b)[None]
    return jnp.maximum(length - 2 * product, jnp.float32(0))


@functools.partial(jax.jit, static_argnames=("trials", "over"))
def _choose(
    far: jax.Array,  # [b, n, C, G], squared distances to the candidates
    near: jax.Array,  # [b, n, G], to the nearest seed
    weight: jax.Array,  # [b, n, G]
    point: jax.Array,  # [C, F], the candidates
    then: jax.Array,  # [C], their distance when they were drawn
    level: jax.Array,  # float64[C], uniform
    most: jax.Array,
    *,
    trials: int,
    over: Mesh,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(near, int32[C / trials] candidates that became seeds, how many of those)."""
    number = jnp.arange(len(point), dtype=jnp.int32)
    rank = jnp.arange(1, trials + 1, dtype=jnp.int32)

    def local(
        far: jax.Array, near: jax.Array, weight: jax.Array, among: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        def kept(now: jax.Array, begin: jax.Array) -> jax.Array:
            """int32[trials], the next candidates that are kept; C beyond the last."""
            keep = level * then.astype(level.dtype) <= now.astype(level.dtype)
            keep = keep & (now > 0) & (number >= begin)
            order = jnp.cumsum(keep, dtype=jnp.int32)
            return jnp.searchsorted(order, rank, method="compare_all")

        def unfinished(state: tuple) -> jax.Array:
            _, _, trial, _, count = state
            return (trial[-1] < len(number)) & (count < most)

        def add(state: tuple) -> tuple:
            near, now, trial, chosen, count = state
            left = weight[:, :, None] * jnp.minimum(near[:, :, None], far[:, :, trial])
            # float64: the same sum, and so the same seed, on any number of devices.
            # Groups first: XLA's sums of long rows are slow on CPUs.
            left = jnp.sum(jnp.sum(left.astype(jnp.float64), (0, 1)), -1)
            best = trial[jnp.argmin(jax.lax.psum(left, "data"))]
            near = jnp.minimum(near, far[:, :, best])
            now = jnp.minimum(now, among[best])
            trial = kept(now, trial[-1] + 1)
            return near, now, trial, chosen.at[count].set(best), count + 1

        chosen = jnp.zeros(len(number) // trials, jnp.int32)
        begin = (near, then, kept(then, jnp.int32(0)), chosen, jnp.int32(0))
        near, _, _, chosen, count = jax.lax.while_loop(unfinished, add, begin)
        return near, chosen, count

    among = jnp.where(jnp.eye(len(point), dtype=bool), 0, _distances(point, point))
    return jax.shard_map(
        local,
        mesh=over,
        in_specs=(_GROUPS, _GROUPS, _GROUPS, _ALL),
        out_specs=(_GROUPS, _ALL, _ALL),
        check_vma=False,
    )(far, near, weight, among)
