"""Greedy k-center, the core-set selection of Sener & Savarese (ICLR 2018).

Equation 2 of S_AcT: again and again pick the point farthest from every point chosen
or labelled so far. Serves on its own: arrays in, indices out.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors, ops
from dact_jax.types import Acquire, Array, Evidence, Key, Picked

_BLOCK = 16  # centres compared with all points in one pass over the pool


def k_center(
    points: Array, centers: Sequence[int] | Array | None, budget: int
) -> Picked:
    """Picks `budget` rows that cover the points.

    A plain greedy scan: one pass over the points for each pick, distances as sums of
    squared differences in float32. The lowest row wins ties. Without any centre the
    first pick is row 0, as in google/active-learning.

    Args:
      points: float32[N, F].
      centers: int[L], rows chosen already (labelled); None or empty if none is.
      budget: number of picks, at most N - L.

    Returns:
      Picked: row int32[budget] in pick order; score float32[budget], the Euclidean
      distance of each pick to the nearest centre at its time (inf where there was
      none).

    Raises:
      InputError: `points` is no [N, F] array of finite numbers, a centre is no row
        number of it, or fewer than `budget` rows are left.
    """
    points = jnp.asarray(points, jnp.float32)
    chosen = np.unique(np.asarray([] if centers is None else centers))
    if chosen.size and not np.issubdtype(chosen.dtype, np.integer):
        raise errors.InputError(
            f"centers must be row numbers (integers), not {chosen.dtype}; "
            "of a mask take np.flatnonzero(mask)."
        )
    chosen = chosen.astype(np.int32)
    _check(points, chosen, budget)
    if budget == 0:
        return Picked(np.zeros(0, np.int32), np.zeros(0, np.float32))
    row, squared = _greedy(points, _blocks(chosen, len(points)), budget)
    return Picked(np.asarray(row), np.sqrt(np.asarray(squared)))


def make(*, features: str = "embedding") -> Acquire:
    """Greedy k-center on the encoder's embedding, labelled rows as first centres.

    Args:
      features: "embedding" (as the encoder gives it; the paper's), "normalized"
        (divided by its norm, as MME's cosine classifier sees it) or "head" (what the
        last layer of the classifier sees: the output "classifier.features").

    Raises:
      InputError: unknown `features`.
    """
    valid = ("embedding", "normalized", "head")
    errors.check_choice("acquisitions.k_center.features", features, valid)

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        del key
        return k_center(_points(evidence, features), np.flatnonzero(taken), budget)

    return acquire


def _points(evidence: Evidence, features: str) -> jax.Array:
    if features != "head":
        points = jnp.asarray(evidence.embedding)
        return ops.normalize(points) if features == "normalized" else points
    if "classifier.features" not in evidence.outputs:
        raise errors.InputError(
            "acquisitions.k_center.features='head' needs the output "
            "'classifier.features', what the classifier's last layer sees, and the "
            "evidence has none."
        )
    return jnp.asarray(evidence.outputs["classifier.features"])


def _check(points: jax.Array, chosen: np.ndarray, budget: int) -> None:
    if points.ndim != 2 or not bool(jnp.isfinite(points).all()):
        raise errors.InputError(
            f"k_center needs float[N, F] points without NaN or infinity, "
            f"got an array of shape {points.shape}."
        )
    if chosen.size and not (chosen[0] >= 0 and chosen[-1] < len(points)):
        raise errors.InputError(
            f"centers must be rows 0 .. {len(points) - 1} of the points, "
            f"got {chosen[0]} .. {chosen[-1]}."
        )
    if not 0 <= budget <= len(points) - chosen.size:
        raise errors.InputError(
            f"budget={budget} must lie between 0 and the {len(points) - chosen.size} "
            "points that are not chosen yet."
        )


def _blocks(chosen: np.ndarray, num_points: int) -> np.ndarray:
    """int32[blocks, _BLOCK]; padding is `num_points`, a row that does not exist."""
    # A power of two of blocks: few shapes, so few compilations over a run's rounds.
    blocks = int(2 ** np.ceil(np.log2(max(chosen.size, 1) / _BLOCK).clip(min=0)))
    padded = np.full(blocks * _BLOCK, num_points, np.int32)
    padded[: chosen.size] = chosen
    return padded.reshape(blocks, _BLOCK)


@functools.partial(jax.jit, static_argnames="budget")
def _greedy(
    points: jax.Array, blocks: jax.Array, budget: int
) -> tuple[jax.Array, jax.Array]:
    nearest = jnp.full(len(points), jnp.inf)  # [N] squared distance, -1 once chosen

    def cover(nearest: jax.Array, rows: jax.Array) -> tuple[jax.Array, None]:
        centers = points.at[rows].get(mode="fill", fill_value=jnp.inf)  # [m, F]
        differences = points[:, None] - centers[None]  # fused: never stored
        squared = jnp.sum(differences**2, -1)  # [N, m]
        nearest = jnp.minimum(nearest, squared.min(-1))
        return nearest.at[rows].set(-1.0, mode="drop"), None

    def pick(nearest: jax.Array, _: None) -> tuple[jax.Array, tuple]:
        row = jnp.argmax(nearest).astype(jnp.int32)
        squared = nearest[row]
        nearest, _ = cover(nearest, row[None])
        return nearest, (row, squared)

    nearest, _ = jax.lax.scan(cover, nearest, blocks)
    _, (row, squared) = jax.lax.scan(pick, nearest, None, length=budget)
    return row, squared
