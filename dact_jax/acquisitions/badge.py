"""BADGE (Ash et al., ICLR 2020): k-means++ seeds among the gradients of the last layer.

The gradient embedding of image i is the outer product of a_i = p_i - onehot(argmax p_i)
and its embedding x_i: long where the prediction is unsure, far apart where images
differ.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import keys
from dact_jax.acquisitions import _ranking
from dact_jax.types import Acquire, Evidence, Key, Picked


def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
    """The longest gradient first, then each by its squared distance to those picked.

    The score of the first is the length of its gradient, of any other its distance to
    the nearest one picked before. Where all that is left repeats picks, it draws
    uniformly.

    Args:
      evidence: float32[N, F] embedding, and the float32[N, K] logits of its output
        "classifier".
      taken: bool[N], rows not to be picked.
      budget: how many to pick.
      key: decides the draw.

    Raises:
      InputError: fewer than `budget` rows are left, or the evidence is not finite.
    """
    _ranking.free_rows(taken, budget)
    logits = _ranking.matrix(
        evidence.outputs.get("classifier"), "classifier", taken.size
    )
    embedding = _ranking.matrix(evidence.embedding, "embedding", taken.size)
    if budget == 0:
        return Picked(np.zeros(0, np.int32), np.zeros(0, np.float32))
    row, squared = _sample(embedding, logits, jnp.asarray(~taken), budget, key)
    return Picked(np.asarray(row), np.sqrt(np.asarray(squared)))


def make() -> Acquire:
    """The acquisition; it has no options."""
    return acquire


def squared_distances(x: jax.Array, a: jax.Array, row: jax.Array) -> jax.Array:
    """float32[N], |a_i x_i' - a_r x_r'|^2 for r = row, without the outer products.

    With A = a_i - a_r and X = x_i - x_r the difference of the two is A x_i' + a_r X'.
    By differences, so that it is exactly 0 for equal rows.

    Args:
      x: float32[N, F].
      a: float32[N, K].
      row: int32[].
    """
    to_x, to_a = x - x[row][None], a - a[row][None]
    own = jnp.sum(to_a**2, -1) * jnp.sum(x**2, -1)
    other = jnp.sum(a[row] ** 2) * jnp.sum(to_x**2, -1)
    both = jnp.sum(to_a * a[row][None], -1) * jnp.sum(x * to_x, -1)
    return jnp.maximum(own + other + 2 * both, 0.0)


@functools.partial(jax.jit, static_argnames="budget")
def _sample(
    x: jax.Array, logits: jax.Array, free: jax.Array, budget: int, key: Key
) -> tuple[jax.Array, jax.Array]:
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
