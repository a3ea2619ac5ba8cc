"""BADGE (Ash et al., ICLR 2020): k-means++ seeds among the gradients of the last layer.

The gradient embedding of image i is the outer product g_i = a_i x_i' of
a_i = p_i - onehot(argmax p_i), [K], and its embedding x_i, [F]. It is long where the
prediction is uncertain, and far from others where images differ.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import keys
from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Evidence, Key, Picked


def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
    """The longest gradient first, then draws with probability ~ squared distance.

    Distances are to the nearest pick so far. The score of the first pick is the length
    of its gradient; of any other, its distance when it was drawn. Once all free rows
    equal picks, the draw is uniform.

    Args:
      evidence: embedding float32[N, F], and output "classifier" with logits
        float32[N, K].
      taken: bool[N], rows that must not be picked.

    Raises:
      InputError: fewer than `budget` rows are free, or the evidence is missing, has
        another shape, or is not all finite.
    """
    _ranking.free_rows(taken, budget)
    logits = _ranking.class_logits(evidence, taken.size)
    embedding = _ranking.finite_matrix(evidence.embedding, "embedding", taken.size)
    if budget == 0:
        return Picked(np.zeros(0, np.int32), np.zeros(0, np.float32))
    row, squared = _sample(embedding, logits, jnp.asarray(~taken), budget, key)
    return Picked(np.asarray(row), np.sqrt(np.asarray(squared)))


def make() -> Acquire:
    """The acquisition; it has no options."""
    return acquire


def squared_distances(x: jax.Array, a: jax.Array, row: jax.Array) -> jax.Array:
    """float32[N], |a_i x_i' - a_r x_r'|^2 for r = row, without the outer products.

    With A = a_i - a_r and X = x_i - x_r, the difference is A x_i' + a_r X'. Computed
    from these differences, the distance of equal rows is exactly 0.

    Args:
      x: float32[N, F].
      a: float32[N, K].
      row: int32[].
    """
    delta_x, delta_a = x - x[row][None], a - a[row][None]
    first = jnp.sum(delta_a**2, -1) * jnp.sum(x**2, -1)
    second = jnp.sum(a[row] ** 2) * jnp.sum(delta_x**2, -1)
    cross = jnp.sum(delta_a * a[row][None], -1) * jnp.sum(x * delta_x, -1)
    return jnp.maximum(first + second + 2 * cross, 0.0)


@functools.partial(jax.jit, static_argnames="budget")
def _sample(
    x: jax.Array, logits: jax.Array, free: jax.Array, budget: int, key: Key
) -> tuple[jax.Array, jax.Array]:
    """Rows int32[budget], and the square of their scores, float32[budget]."""
    num_classes = logits.shape[-1]
    p = jax.nn.softmax(logits)
    a = p - jax.nn.one_hot(jnp.argmax(logits, -1), num_classes)  # [N, K]
    norm = jnp.sum(a**2, -1) * jnp.sum(x**2, -1)  # [N]
    first = jnp.argmax(jnp.where(free, norm, -1.0)).astype(jnp.int32)

    def pick(state: tuple, number: jax.Array) -> tuple[tuple, tuple]:
        nearest, free, last = state
        free = free.at[last].set(False)
        nearest = jnp.minimum(nearest, squared_distances(x, a, last))
        mass = jnp.where(free, nearest, 0.0)
        mass = jnp.where(jnp.max(mass) > 0, mass, free.astype(mass.dtype))
        row = draw(mass, 1, keys.key(key, "pick", number))[0]
        return (nearest, free, row), (row, nearest[row])

    start = (jnp.full(len(x), jnp.inf), free, first)
    _, (row, squared) = jax.lax.scan(pick, start, jnp.arange(1, budget))
    row = jnp.concatenate([first[None], row])
    return row, jnp.concatenate([norm[first][None], squared])


def draw(mass: jax.Array, num: int, key: Key) -> jax.Array:
    """int32[num] rows with probability proportional to mass, with replacement.

    A row of mass 0 is drawn only if every mass is 0.

    Args:
      mass: float32[N], not negative.
    """
    # Sums of squares near the largest float32 would overflow. A power of two rounds
    # nothing, and smaller masses stay as they are.
    mass = mass * jnp.where(jnp.max(mass) > 2.0**90, jnp.float32(2.0**-60), 1)
    level = jnp.cumsum(mass)
    at = jax.random.uniform(key, (num,)) * level[-1]
    row = jnp.searchsorted(level, at, side="right")
    row = jnp.minimum(row, len(mass) - 1).astype(jnp.int32)
    # The parallel prefix sum has rounding errors, so the search may end on mass 0.
    return jnp.where(mass[row] > 0, row, jnp.argmax(mass).astype(jnp.int32))
