"""Weighted k-means, and the sampling that k-means++ and BADGE share.

Lloyd's iterations from greedy k-means++ seeds (Arthur & Vassilvitskii, SODA 2007), by
the rules of scikit-learn 1.3 and later: weights count in the seeding too, the best of
2 + log k candidates becomes the next seed. Arrays in, centroids out.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors, keys
from dact_jax.types import Array, Key

_HIGHEST = jax.lax.Precision.HIGHEST  # differences of large numbers follow
_NOISE = 1e-10  # squared distances below this share of the spread may be rounding


class KMeans(NamedTuple):
    centroid: jax.Array  # float32[k, F]
    inertia: jax.Array  # float32[], sum of weight * squared distance to the nearest
    iterations: jax.Array  # int32[], of the restart that won


def k_means(
    points: Array,
    weight: Array,
    num_clusters: int,
    *,
    restarts: int = 10,
    max_iterations: int = 300,
    tolerance: float = 1e-4,
    max_pairs: int = 2**22,
    key: Key,
) -> KMeans:
    """The best of several runs of weighted k-means.

    Restarts run one after another; distances are held for a block of rows at a time.
    Rows of weight 0 have no influence: masking by weight keeps the shapes, and so the
    compiled program, of one selection round for the next.

    Args:
      points: float32[N, F].
      weight: float32[N], not negative.
      num_clusters: k, at most the number of rows with a weight.
      restarts: runs from new seeds; the lowest inertia wins, the first among equals.
      max_iterations: of Lloyd in each run.
      tolerance: a run ends when the squared movement of all centroids together is at
        most this share of the mean variance of the features.
      max_pairs: most distances (rows times centroids) held at once.
      key: decides the seeds.

    Raises:
      InputError: the points are no [N, F] array of finite numbers, the weights do not
        fit them, or an option is out of its range.
    """
    points = jnp.asarray(points, jnp.float32)
    weight = jnp.asarray(weight, jnp.float32)
    _check(points, weight, num_clusters)
    if restarts < 1 or max_pairs < 1:
        raise errors.InputError(
            f"restarts={restarts} and max_pairs={max_pairs} must be at least 1."
        )
    # As many blocks as max_pairs asks for, evenly filled: at most one row of padding
    # a block.
    num_blocks = math.ceil(len(points) * num_clusters / max_pairs)
    num_blocks = min(num_blocks, len(points))
    rows, weights, mean, variance = _blocks(points, weight, num_blocks)
    best: KMeans | None = None
    for number in range(restarts):
        found = _run(
            rows,
            weights,
            variance,
            num_clusters,
            max_iterations,
            tolerance,
            keys.key(key, "restart", number),
        )
        if best is None or found.inertia < best.inertia:
            best = found
    assert best is not None  # restarts >= 1
    return best._replace(centroid=best.centroid + mean[None])


def draw(mass: jax.Array, num: int, key: Key) -> jax.Array:
    """int32[num] rows with probability proportional to mass, with replacement.

    A row without mass is drawn only where no row has any.

    Args:
      mass: float32[N], not negative.
      num: how many rows.
      key: decides the draw.
    """
    level = jnp.cumsum(mass)
    at = jax.random.uniform(key, (num,)) * level[-1]
    row = jnp.searchsorted(level, at, side="right")
    row = jnp.minimum(row, len(mass) - 1).astype(jnp.int32)
    # The parallel prefix sum may be off by a rounding, and so end on a row of mass 0.
    return jnp.where(mass[row] > 0, row, jnp.argmax(mass).astype(jnp.int32))


def _check(points: jax.Array, weight: jax.Array, num_clusters: int) -> None:
    if points.ndim != 2 or not bool(jnp.isfinite(points).all()):
        raise errors.InputError(
            "k_means needs float[N, F] points without NaN or infinity, "
            f"got an array of shape {points.shape}."
        )
    fits = weight.shape == points.shape[:1]
    if not fits or not bool((jnp.isfinite(weight) & (weight >= 0)).all()):
        raise errors.InputError(
            f"k_means needs {len(points)} finite weights, none negative, "
            f"got an array of shape {weight.shape}."
        )
    num_weighted = int(np.count_nonzero(weight))
    if not 1 <= num_clusters <= num_weighted:
        raise errors.InputError(
            f"num_clusters={num_clusters} must lie between 1 and the {num_weighted} "
            "points that have a weight."
        )


@functools.partial(jax.jit, static_argnames="num_blocks")
def _blocks(
    points: jax.Array, weight: jax.Array, num_blocks: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Centred points [b, R, F], weights [b, R] (padding: 0), mean and variance [F]."""
    counts = (weight > 0)[:, None]
    number = jnp.sum(counts).astype(jnp.float32)
    mean = jnp.sum(jnp.where(counts, points, 0.0), 0) / number
    centred = points - mean[None]  # else far-off data lose their digits in products
    variance = jnp.sum(jnp.where(counts, centred, 0.0) ** 2, 0) / number
    size = -(-len(points) // num_blocks)
    padding = num_blocks * size - len(points)
    rows = jnp.pad(centred, ((0, padding), (0, 0))).reshape(num_blocks, size, -1)
    weights = jnp.pad(weight, (0, padding)).reshape(num_blocks, size)
    return rows, weights, mean, variance


@functools.partial(jax.jit, static_argnames=("num_clusters", "max_iterations"))
def _run(
    rows: jax.Array,  # [b, R, F]
    weights: jax.Array,  # [b, R]
    variance: jax.Array,  # [F]
    num_clusters: int,
    max_iterations: int,
    tolerance: float,
    key: Key,
) -> KMeans:
    points = rows.reshape(-1, rows.shape[-1])  # [N, F]
    seed = _seed(points, weights.reshape(-1), num_clusters, key)
    enough = tolerance * jnp.mean(variance)

    def unfinished(state: tuple) -> jax.Array:
        _, moved, number = state
        return (moved > enough) & (number < max_iterations)

    def iterate(state: tuple) -> tuple:
        old, _, number = state
        new = _move(rows, weights, old, _NOISE * jnp.sum(variance))
        return new, jnp.sum((new - old) ** 2), number + 1

    start = (points[seed], jnp.float32(jnp.inf), jnp.int32(0))
    centroid, _, number = jax.lax.while_loop(unfinished, iterate, start)
    squared, _, _ = _assign(rows, weights, centroid)
    return KMeans(centroid, jnp.sum(weights * squared), number)


def _seed(
    points: jax.Array, weight: jax.Array, num_clusters: int, key: Key
) -> jax.Array:
    """int32[k], rows of the seeds: greedy k-means++."""
    num_trials = 2 + int(math.log(num_clusters))
    norm = jnp.sum(points**2, -1)  # [N]

    def squared_to(trial: jax.Array) -> jax.Array:
        product = jnp.matmul(points, points[trial].T, precision=_HIGHEST)
        squared = norm[:, None] - 2 * product + norm[trial][None]
        return jnp.maximum(squared, 0.0)  # [N, num_trials]

    def add(nearest: jax.Array, number: jax.Array) -> tuple[jax.Array, jax.Array]:
        mass = weight * nearest
        mass = jnp.where(jnp.max(mass) > 0, mass, weight)  # all points are seeds
        trial = draw(mass, num_trials, keys.key(key, "seed", number))
        squared = jnp.minimum(nearest[:, None], squared_to(trial))
        best = jnp.argmin(jnp.matmul(weight, squared, precision=_HIGHEST))
        return squared[:, best], trial[best]

    first = draw(weight, 1, keys.key(key, "seed", 0))
    nearest = squared_to(first)[:, 0]
    _, others = jax.lax.scan(add, nearest, jnp.arange(1, num_clusters))
    return jnp.concatenate([first, others])


def _assign(
    rows: jax.Array, weights: jax.Array, centroid: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Squared distance to the nearest [b, R]; weighted sums [k, F], masses [k]."""
    half = jnp.sum(centroid**2, -1) / 2  # [k]

    def block(totals: tuple, one: tuple) -> tuple[tuple, jax.Array]:
        x, weight = one  # [R, F], [R]
        product = jnp.matmul(x, centroid.T, precision=_HIGHEST)
        label = jnp.argmin(half[None] - product, -1)  # |x|^2 is the same for all
        # By differences: exactly 0 for a point on its centroid.
        squared = jnp.sum((x - centroid[label]) ** 2, -1)
        # A product, not a scatter: additions in a fixed order on every device.
        member = jax.nn.one_hot(label, len(centroid)) * weight[:, None]  # [R, k]
        sums, mass = totals
        sums = sums + jnp.matmul(member.T, x, precision=_HIGHEST)
        return (sums, mass + jnp.sum(member, 0)), squared

    totals = (jnp.zeros_like(centroid), jnp.zeros_like(half))
    (sums, mass), squared = jax.lax.scan(block, totals, (rows, weights))
    return squared, sums, mass


def _move(
    rows: jax.Array, weights: jax.Array, centroid: jax.Array, noise: jax.Array
) -> jax.Array:
    """float32[k, F]: each centroid at the mean of its points."""
    squared, sums, mass = _assign(rows, weights, centroid)
    empty = mass == 0
    mean = sums / jnp.where(empty, 1.0, mass)[:, None]
    moved = jnp.where(empty[:, None], centroid, mean)

    def refill() -> jax.Array:
        # The j-th empty cluster goes to the j-th of the points that cost most; it
        # stays where no point costs anything, or it would wander for ever.
        cost = jnp.where(squared > noise, weights * squared, 0.0).reshape(-1)
        cost, row = jax.lax.top_k(cost, len(centroid))
        turn = jnp.maximum(jnp.cumsum(empty) - 1, 0)
        worth = empty & (cost[turn] > 0)
        farthest = rows.reshape(-1, rows.shape[-1])[row[turn]]
        return jnp.where(worth[:, None], farthest, moved)

    return jax.lax.cond(jnp.any(empty), refill, lambda: moved)
