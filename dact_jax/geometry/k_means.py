"""Weighted k-means: Lloyd's iterations from greedy k-means++ seeds (`k_means_seeds`).

Arrays in, centroids out.
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

_NOISE = 1e-10  # squared distances below this share of the variance may be rounding
_ROWS, _ALL = PartitionSpec("data"), PartitionSpec()
_GROUPS = PartitionSpec(None, "data")


class KMeans(NamedTuple):
    centroid: jax.Array  # float32[k, F]
    inertia: jax.Array  # float32[], sum of weight * squared distance to the nearest
    iterations: jax.Array  # int32[], of the best restart


def k_means(
    features: Array,
    weight: Array,
    num_clusters: int,
    *,
    restarts: int = 10,
    max_iterations: int = 300,
    tolerance: float = 1e-4,
    max_pairs: int = 2**22,
    mesh: Mesh | None = None,
    resident: bool | None = None,
    key: Key,
) -> KMeans:
    """The best of several runs of weighted k-means.

    Restarts run one after another. Rows of weight 0 have no influence: masking rows by
    weight keeps the shapes, and so the compiled program, of one selection round for the
    next. The seeds of a key do not depend on the number of devices; the inertia depends
    on it only by rounding.

    *Memory*, in bytes: on the host 60 N; on the devices together 12 N and, while seeds
    are drawn, twice the larger of 2^27 and 4 N (2 + log k) for distances; on each of
    them 4 max_pairs, 40 k F for centroids and sums, and three blocks of rows of 2^25.
    The pool itself only where it is copied to the devices. Never N x k.

    Args:
      features: [N, F] real numbers, one row per point, taken as float32: a NumPy array,
        a memory map (which is read block by block, never copied) or a jax array.
      weight: float32[N], not negative.
      num_clusters: k, at most the number of rows with a weight.
      restarts: runs from new seeds; the lowest inertia wins, the first among equals.
      max_iterations: of Lloyd in each run.
      tolerance: a run ends when the squared movement of all centroids together is at
        most this share of the mean variance of the features.
      max_pairs: most distances (rows times centroids) that a device holds at once.
      mesh: the devices that share the work, in one axis "data"; all by default. Every
        process of a `jax.distributed` job must call this with the same arguments.
      resident: whether the features are copied to the devices, split by rows; by
        default on accelerators, where they fit.
      key: decides the seeds.

    Raises:
      InputError: the points are not an [N, F] array of finite numbers, the weights do
        not fit them, or an option is out of its range.
    """
    if restarts < 1 or max_pairs < 1:
        raise errors.InputError(
            f"restarts={restarts} and max_pairs={max_pairs} must be at least 1."
        )
    pool = points.make(features, mesh=mesh, resident=resident)
    weight = np.asarray(weight, np.float32)
    _check(weight, pool.num, num_clusters)
    with jax.enable_x64(True):
        view = weighted_points.make(pool, weight, max_pairs // num_clusters)
        enough = tolerance * float(view.variance.mean())
        best: tuple[np.ndarray, float, int] | None = None
        for number in range(restarts):
            restart_key = keys.key(key, "restart", number)
            seeds = k_means_seeds.greedy(view, num_clusters, restart_key)
            centroid = weighted_points.rows(view, seeds)
            result = lloyd(view, centroid, max_iterations, enough)
            if best is None or result[1] < best[1]:
                best = result
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
    """Lloyd's iterations; call it under `jax.enable_x64`.

    Args:
      view: the points.
      centroid: float32[k, F], the initial ones, centered as the points are.
      max_iterations: upper limit of Lloyd iterations.
      enough: squared movement of all centroids together at which iteration ends.

    Returns:
      (float32[k, F] centroids, the inertia, iterations done).
    """
    number, movement = 0, np.inf
    while movement > enough and number < max_iterations:
        new = _move(view, centroid)
        movement = float(np.square(new - centroid, dtype=np.float64).sum())
        centroid, number = new, number + 1
    squared = _squared(view, centroid).astype(np.float64)
    return centroid, float(view.weight @ squared), number


def _check(weight: np.ndarray, num: int, num_clusters: int) -> None:
    expected = f"weights must be {num} finite numbers, none negative"
    if weight.shape != (num,):
        raise errors.InputError(f"{expected}, not an array of shape {weight.shape}.")
    wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if wrong.size:
        raise errors.InputError(
            f"{expected}; that of row {wrong[0]} is {weight[wrong[0]]}."
        )
    num_weighted = int(np.count_nonzero(weight))
    if not 1 <= num_clusters <= num_weighted:
        raise errors.InputError(
            f"num_clusters={num_clusters} must be between 1 and the {num_weighted} "
            "points that have a weight."
        )


def _move(view: Weighted, centroid: np.ndarray) -> np.ndarray:
    """float32[k, F], each centroid at the mean of its points."""
    mesh = view.pool.mesh
    put = functools.partial(devices.put, split=False)
    device_centroid, origin = put(centroid, mesh), put(view.origin, mesh)
    sums, mass = np.zeros(centroid.shape), np.zeros(len(centroid))

    def compute(number: np.int32, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _sums(x, view.block_weight, number, device_centroid, origin, mesh=mesh)

    for _, (block_sums, block_mass) in weighted_points.blocks(view, compute):
        sums += np.asarray(block_sums)
        mass += np.asarray(block_mass)
    empty = mass == 0
    mean = sums / np.where(empty, 1, mass)[:, None]
    moved = np.where(empty[:, None], centroid, mean).astype(np.float32)
    return _refill(view, centroid, moved, empty) if empty.any() else moved


def _refill(
    view: Weighted, centroid: np.ndarray, moved: np.ndarray, empty: np.ndarray
) -> np.ndarray:
    """Moves the j-th empty cluster to the point with the j-th largest cost.

    It stays where it is if no point costs anything, or iterations would not end.
    """
    squared = _squared(view, centroid)
    noise = _NOISE * view.variance.sum()
    cost = np.where(squared > noise, view.weight * squared, 0)
    row = np.argsort(-cost, kind="stable")[: np.count_nonzero(empty)]
    row = row[cost[row] > 0]
    moved[np.flatnonzero(empty)[: len(row)]] = weighted_points.rows(view, row)
    return moved


def _squared(view: Weighted, centroid: np.ndarray) -> np.ndarray:
    """float32[N], squared distance of each point to the nearest centroid."""
    mesh = view.pool.mesh
    put = functools.partial(devices.put, split=False)
    device_centroid, origin = put(centroid, mesh), put(view.origin, mesh)
    group = view.block_weight.shape[-1]

    def compute(_: np.int32, x: jax.Array) -> jax.Array:
        return _squared_to_nearest(x, device_centroid, origin, group=group, mesh=mesh)

    blocks = weighted_points.blocks(view, compute)
    return weighted_points.by_row(view, np.stack([np.asarray(x) for _, x in blocks]))


@functools.partial(jax.jit, static_argnames="mesh")
def _sums(
    x: jax.Array,
    weight: jax.Array,
    number: jax.Array,
    centroid: jax.Array,
    origin: jax.Array,
    *,
    mesh: Mesh,
) -> tuple[jax.Array, jax.Array]:
    """Of a block, by cluster: weighted sums float64[k, F], total weights float64[k]."""
    on_cpu = mesh.devices.flat[0].platform == "cpu"

    def local(
        x: jax.Array,
        weight: jax.Array,
        number: jax.Array,
        centroid: jax.Array,
        origin: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        half_norm = distances.squared_norm(centroid) / 2
        weight = weight[number]  # [n, G]

        def add_group(totals: tuple, group: tuple) -> tuple[tuple, None]:
            sums, mass = totals
            x, weight = group[0] - origin[None], group[1]
            label = _label(x, centroid, half_norm)
            if on_cpu:
                sums = sums.at[label].add(x * weight[:, None])
                return (sums, mass.at[label].add(weight)), None
            # A product on accelerators: it adds in a fixed order.
            member = jax.nn.one_hot(label, len(half_norm)) * weight[:, None]
            sums = sums + distances.product(member.T, x)
            return (sums, mass + jnp.sum(member, 0)), None

        zeros = (jnp.zeros_like(centroid), jnp.zeros_like(half_norm))
        groups = x.reshape(*weight.shape, len(origin))
        totals, _ = jax.lax.scan(add_group, zeros, (groups, weight))
        totals = jax.tree.map(lambda total: total.astype(jnp.float64), totals)
        return jax.lax.psum(totals, "data")

    specs = (_ROWS, _GROUPS, _ALL, _ALL, _ALL)
    return jax.shard_map(
        local, mesh=mesh, in_specs=specs, out_specs=_ALL, check_vma=False
    )(x, weight, number, centroid, origin)


@functools.partial(jax.jit, static_argnames=("group", "mesh"))
def _squared_to_nearest(
    x: jax.Array, centroid: jax.Array, origin: jax.Array, *, group: int, mesh: Mesh
) -> jax.Array:
    """Of a block: float32[n * G], squared distances to the nearest, on every device."""

    def local(x: jax.Array, centroid: jax.Array, origin: jax.Array) -> jax.Array:
        half_norm = distances.squared_norm(centroid) / 2

        def measure(points: jax.Array) -> jax.Array:
            points = points - origin[None]
            nearest = centroid[_label(points, centroid, half_norm)]
            # By differences: exactly 0 for a point on its centroid.
            return distances.squared_norm(points - nearest)

        squared = jax.lax.map(measure, x.reshape(-1, group, len(origin)))
        return jax.lax.all_gather(squared.reshape(-1), "data", tiled=True)

    return jax.shard_map(
        local, mesh=mesh, in_specs=(_ROWS, _ALL, _ALL), out_specs=_ALL, check_vma=False
    )(x, centroid, origin)


def _label(x: jax.Array, centroid: jax.Array, half_norm: jax.Array) -> jax.Array:
    """int32[G], number of the nearest centroid, the first of those that tie."""
    # |x|^2 is the same for all. Not by argmin, which is slow in XLA on CPUs.
    squared = half_norm[:, None] - distances.product(centroid, x.T)  # [k, G]
    number = jnp.arange(len(half_norm), dtype=jnp.int32)[:, None]
    is_least = squared == jnp.min(squared, 0)[None]
    return jnp.min(jnp.where(is_least, number, len(half_norm)), 0)
