"""Weighted k-means, and the sampling that BADGE takes from k-means++.

Lloyd's iterations from greedy k-means++ seeds (`seeding`). Arrays in, centroids out.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from dact_jax import devices, errors, keys
from dact_jax.geometry import distances, k_means_seeds, points, weighted_points
from dact_jax.geometry.weighted_points import Weighted
from dact_jax.types import Array, Key

_HIGHEST = jax.lax.Precision.HIGHEST  # differences of large numbers follow
_NOISE = 1e-10  # squared distances below this share of the spread may be rounding
_ROWS, _ALL = PartitionSpec("data"), PartitionSpec()
_GROUPS = PartitionSpec(None, "data")


class KMeans(NamedTuple):
    centroid: jax.Array  # float32[k, F]
    inertia: jax.Array  # float32[], sum of weight * squared distance to the nearest
    iterations: jax.Array  # int32[], of the restart that won


def k_means(
    features: Array,
    weight: Array,
    num_clusters: int,
    *,
    restarts: int = 10,
    max_iterations: int = 300,
    tolerance: float = 1e-4,
    max_pairs: int = 2**22,
    over: Mesh | None = None,
    resident: bool | None = None,
    key: Key,
) -> KMeans:
    """The best of several runs of weighted k-means.

    Restarts run one after another. Rows of weight 0 have no influence: masking by
    weight keeps the shapes, and so the compiled program, of one selection round for
    the next. The seeds of a key do not depend on the number of devices, nor does the
    inertia but for rounding.

    *Memory*, in bytes: on the host 60 N; on the devices together 12 N and, while seeds
    are drawn, twice the larger of 2^27 and 4 N (2 + log k) for distances; on each of
    them 4 max_pairs, 40 k F for centroids and sums, and three blocks of rows of 2^25.
    The pool itself only where it is copied to the devices. Never N x k.

    Args:
      features: [N, F] real numbers, one row a point, taken as float32: a NumPy array, a
        memory map (which is read block by block, never copied) or a jax array.
      weight: float32[N], not negative.
      num_clusters: k, at most the number of rows with a weight.
      restarts: runs from new seeds; the lowest inertia wins, the first among equals.
      max_iterations: of Lloyd in each run.
      tolerance: a run ends when the squared movement of all centroids together is at
        most this share of the mean variance of the features.
      max_pairs: most distances (rows times centroids) that a device holds at once.
      over: the devices that share the work, in one axis "data"; all by default. Every
        process of a `jax.distributed` job must call this with the same arguments.
      resident: whether the features are copied to the devices, split by rows; by
        default on accelerators, where they fit.
      key: decides the seeds.

    Raises:
      InputError: the points are no [N, F] array of finite numbers, the weights do not
        fit them, or an option is out of its range.
    """
    if restarts < 1 or max_pairs < 1:
        raise errors.InputError(
            f"restarts={restarts} and max_pairs={max_pairs} must be at least 1."
        )
    pool = points.make(features, over=over, resident=resident)
    mass = np.asarray(weight, np.float32)
    _check(mass, pool.num, num_clusters)
    with jax.enable_x64(True):
        view = weighted_points.make(pool, mass, max_pairs // num_clusters)
        enough = tolerance * float(view.variance.mean())
        best: tuple[np.ndarray, float, int] | None = None
        for number in range(restarts):
            one = keys.key(key, "restart", number)
            seeds = k_means_seeds.greedy(view, num_clusters, one)
            found = lloyd(
                view, weighted_points.rows(view, seeds), max_iterations, enough
            )
            if best is None or found[1] < best[1]:
                best = found
    assert best is not None  # restarts >= 1
    centroid, inertia, iterations = best
    return KMeans(
        jnp.asarray(centroid + view.origin, jnp.float32),
        jnp.asarray(inertia, jnp.float32),
        jnp.asarray(iterations, jnp.int32),
    )


def lloyd(
    view: Weighted, centroid: np.ndarray, max_iterations: int, enough: float
) -> tuple[np.ndarray, float, int]:
    """Lloyd's iterations; to be called under `jax.enable_x64`.

    Args:
      view: the points.
      centroid: float32[k, F] to begin with, centred as the points are.
      max_iterations: the most.
      enough: squared movement of all centroids together at which to end.

    Returns:
      (float32[k, F], the inertia, iterations done).
    """
    number, moved = 0, np.inf
    while moved > enough and number < max_iterations:
        new = _move(view, centroid)
        moved = float(np.square(new - centroid, dtype=np.float64).sum())
        centroid, number = new, number + 1
    squared = _squared(view, centroid).astype(np.float64)
    return centroid, float(view.mass @ squared), number


def _check(mass: np.ndarray, num: int, num_clusters: int) -> None:
    needed = f"k_means needs {num} finite weights, none negative, "
    if mass.shape != (num,):
        raise errors.InputError(f"{needed}got an array of shape {mass.shape}.")
    bad = np.flatnonzero(~(np.isfinite(mass) & (mass >= 0)))
    if bad.size:
        raise errors.InputError(f"{needed}but that of row {bad[0]} is {mass[bad[0]]}.")
    num_weighted = int(np.count_nonzero(mass))
    if not 1 <= num_clusters <= num_weighted:
        raise errors.InputError(
            f"num_clusters={num_clusters} must lie between 1 and the {num_weighted} "
            "points that have a weight."
        )


def _move(view: Weighted, centroid: np.ndarray) -> np.ndarray:
    """float32[k, F]: each centroid at the mean of its points."""
    over = view.pool.mesh
    held, origin = (devices.put(x, over, split=False) for x in (centroid, view.origin))
    sums, mass = np.zeros(centroid.shape), np.zeros(len(centroid))

    def work(number: np.int32, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _sums(x, view.weight, number, held, origin, over=over)

    for _, (one, some) in weighted_points.blocks(view, work):
        sums += np.asarray(one)
        mass += np.asarray(some)
    empty = mass == 0
    mean = sums / np.where(empty, 1, mass)[:, None]
    moved = np.where(empty[:, None], centroid, mean).astype(np.float32)
    return _refill(view, centroid, moved, empty) if empty.any() else moved


def _refill(
    view: Weighted, centroid: np.ndarray, moved: np.ndarray, empty: np.ndarray
) -> np.ndarray:
    """The j-th empty cluster goes to the j-th of the points that cost most.

    It stays where no point costs anything, or it would wander for ever.
    """
    squared = _squared(view, centroid)
    noise = _NOISE * view.variance.sum()
    cost = np.where(squared > noise, view.mass * squared, 0)
    row = np.argsort(-cost, kind="stable")[: np.count_nonzero(empty)]
    row = row[cost[row] > 0]
    moved[np.flatnonzero(empty)[: len(row)]] = weighted_points.rows(view, row)
    return moved


def _squared(view: Weighted, centroid: np.ndarray) -> np.ndarray:
    """float32[N], squared distance of each point to the nearest centroid."""
    over = view.pool.mesh
    held, origin = (devices.put(x, over, split=False) for x in (centroid, view.origin))
    group = view.weight.shape[-1]

    def work(_: np.int32, x: jax.Array) -> jax.Array:
        return _gaps(x, held, origin, group=group, over=over)

    found = [np.asarray(squared) for _, squared in weighted_points.blocks(view, work)]
    return weighted_points.by_row(view, np.stack(found))


@functools.partial(jax.jit, static_argnames="over")
def _sums(
    x: jax.Array,
    weight: jax.Array,
    number: jax.Array,
    centroid: jax.Array,
    origin: jax.Array,
    *,
    over: Mesh,
) -> tuple[jax.Array, jax.Array]:
    """Of a block: weighted sums float64[k, F] of each cluster, masses float64[k]."""
    scatters = over.devices.flat[0].platform == "cpu"

    def local(
        x: jax.Array,
        weight: jax.Array,
        number: jax.Array,
        centroid: jax.Array,
        origin: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        half = distances.squared_length(centroid) / 2
        weight = weight[number]  # [n, G]

        def add(totals: tuple, one: tuple) -> tuple[tuple, None]:
            sums, mass = totals
            x, weight = one[0] - origin[None], one[1]
            label = _label(x, centroid, half)
            if scatters:
                sums = sums.at[label].add(x * weight[:, None])
                return (sums, mass.at[label].add(weight)), None
            # A product elsewhere: additions in a fixed order.
            member = jax.nn.one_hot(label, len(half)) * weight[:, None]
            sums = sums + jnp.matmul(member.T, x, precision=_HIGHEST)
            return (sums, mass + jnp.sum(member, 0)), None

        begin = (jnp.zeros_like(centroid), jnp.zeros_like(half))
        groups = x.reshape(*weight.shape, len(origin))
        totals, _ = jax.lax.scan(add, begin, (groups, weight))
        wide = jax.tree.map(lambda one: one.astype(jnp.float64), totals)
        return jax.lax.psum(wide, "data")

    specs = (_ROWS, _GROUPS, _ALL, _ALL, _ALL)
    return jax.shard_map(
        local, mesh=over, in_specs=specs, out_specs=_ALL, check_vma=False
    )(x, weight, number, centroid, origin)


@functools.partial(jax.jit, static_argnames=("group", "over"))
def _gaps(
    x: jax.Array, centroid: jax.Array, origin: jax.Array, *, group: int, over: Mesh
) -> jax.Array:
    """Of a block: float32[n * G], squared distances to the nearest, on every device."""

    def local(x: jax.Array, centroid: jax.Array, origin: jax.Array) -> jax.Array:
        half = distances.squared_length(centroid) / 2

        def measure(one: jax.Array) -> jax.Array:
            one = one - origin[None]
            # By differences: exactly 0 for a point on its centroid.
            return distances.squared_length(one - centroid[_label(one, centroid, half)])

        found = jax.lax.map(measure, x.reshape(-1, group, len(origin)))
        return jax.lax.all_gather(found.reshape(-1), "data", tiled=True)

    return jax.shard_map(
        local, mesh=over, in_specs=(_ROWS, _ALL, _ALL), out_specs=_ALL, check_vma=False
    )(x, centroid, origin)


def _label(x: jax.Array, centroid: jax.Array, half: jax.Array) -> jax.Array:
    """int32[G], the nearest centroid, the first of those that tie."""
    # |x|^2 is the same for all. Not by argmin, which XLA does slowly on CPUs.
    far = half[:, None] - jnp.matmul(centroid, x.T, precision=_HIGHEST)  # [k, G]
    number = jnp.arange(len(half), dtype=jnp.int32)[:, None]
    return jnp.min(jnp.where(far == jnp.min(far, 0)[None], number, len(half)), 0)
