"""Plain greedy k-center: one pass over all points for each pick, in float64."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from dact_jax.geometry import distances
from dact_jax.geometry.candidates import TIE


@functools.partial(jax.jit, static_argnames="mesh")
def scan(
    points: jax.Array,
    chosen: jax.Array,
    count: jax.Array,
    budget: jax.Array,
    *,
    mesh: Mesh,
) -> tuple[jax.Array, jax.Array]:
    """Picks the farthest point `budget` times; distances are by differences.

    Args:
      points: float32[N, F].
      chosen: int32[N], the rows of the centers, then padding.
      count: int32[], number of centers, at least one.
      budget: int32[], number of picks.
      mesh: devices; each computes the same.

    Returns:
      int32[N], the rows, then padding; float64[N], squared distance of each when it was
      picked.
    """
    num = len(points)

    def to_row(raw: jax.Array, row: jax.Array) -> jax.Array:
        return distances.squared_norm(raw - raw[row][None])

    def local(
        points: jax.Array, chosen: jax.Array, count: jax.Array, budget: jax.Array
    ) -> tuple:
        raw = points.astype(jnp.float64)

        def add_center(number: jax.Array, value: jax.Array) -> jax.Array:
            row = chosen[number]
            return jnp.minimum(value, to_row(raw, row)).at[row].set(-1.0)

        def pick(number: jax.Array, state: tuple) -> tuple:
            value, rows, squared = state
            row = _lowest_largest(value)
            rows, squared = rows.at[number].set(row), squared.at[number].set(value[row])
            value = jnp.minimum(value, to_row(raw, row)).at[row].set(-1.0)
            return value, rows, squared

        zero = jnp.int32(0)
        value = jax.lax.fori_loop(zero, count, add_center, jnp.full(num, jnp.inf))
        start = (value, jnp.zeros(num, jnp.int32), jnp.zeros(num))
        return jax.lax.fori_loop(zero, budget, pick, start)[1:]

    replicated = PartitionSpec()
    mapped = jax.shard_map(
        local, mesh=mesh, in_specs=replicated, out_specs=replicated, check_vma=False
    )
    return mapped(points, chosen, count, budget)


def _lowest_largest(value: jax.Array) -> jax.Array:
    """int32[], the lowest row of those that tie for the largest (`candidates.tied`)."""
    largest = jnp.max(value)
    tied = value >= jnp.where(largest > 0, (1 - TIE) * largest, largest)
    return jnp.argmax(tied).astype(jnp.int32)
