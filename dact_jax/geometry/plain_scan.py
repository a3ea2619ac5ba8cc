"""The plain greedy k-center: one pass over all points for each pick, in float64."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from dact_jax.geometry import distances
from dact_jax.geometry.candidates import TIE


@functools.partial(jax.jit, static_argnames="over")
def scan(
    points: jax.Array,
    chosen: jax.Array,
    count: jax.Array,
    budget: jax.Array,
    *,
    over: Mesh,
) -> tuple[jax.Array, jax.Array]:
    """Picks the farthest point again and again; distances are by differences.

    Args:
      points: float32[N, F].
      chosen: int32[N], the rows of the centres, then anything.
      count: int32[], how many there are, at least one.
      budget: int32[], number of picks.
      over: the devices; each does the same.

    Returns:
      int32[N], the rows, then padding; float64[N], squared distances at their time.
    """
    num = len(points)

    def away(raw: jax.Array, row: jax.Array) -> jax.Array:
        return distances.squared_length(raw - raw[row][None])

    def local(
        points: jax.Array, chosen: jax.Array, count: jax.Array, budget: jax.Array
    ) -> tuple:
        raw = points.astype(jnp.float64)

        def cover(number: jax.Array, value: jax.Array) -> jax.Array:
            row = chosen[number]
            return jnp.minimum(value, away(raw, row)).at[row].set(-1.0)

        def pick(number: jax.Array, state: tuple) -> tuple:
            value, rows, squared = state
            row = _lowest(value)
            rows, squared = rows.at[number].set(row), squared.at[number].set(value[row])
            return jnp.minimum(value, away(raw, row)).at[row].set(-1.0), rows, squared

        zero = jnp.int32(0)
        value = jax.lax.fori_loop(zero, count, cover, jnp.full(num, jnp.inf))
        start = (value, jnp.zeros(num, jnp.int32))
        state = jax.lax.fori_loop(zero, budget, pick, (*start, jnp.zeros(num)))
        return state[1:]

    alike = PartitionSpec()
    mapped = jax.shard_map(
        local, mesh=over, in_specs=alike, out_specs=alike, check_vma=False
    )
    return mapped(points, chosen, count, budget)


def _lowest(value: jax.Array) -> jax.Array:
    """int32[], the lowest of those that tie for the largest (`candidates.tied`)."""
    most = jnp.max(value)
    tied = value >= jnp.where(most > 0, (1 - TIE) * most, most)
    return jnp.argmax(tied).astype(jnp.int32)
