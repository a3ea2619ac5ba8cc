"""ProbCover (Yehuda et al., NeurIPS 2022): balls that cover the most rows.

Each pick a is the free row whose ball of radius delta holds the most rows that no ball
of a labelled or picked row holds. delta is the largest radius at which 95 % of the
balls are pure, by the clusters of k-means with as many clusters as there are classes.
`geometry.coverage` computes it, with a top-hat kernel.
"""

import jax.numpy as jnp
import numpy as np

from dact_jax import kinds
from dact_jax.acquisitions import _coverage, _ranking
from dact_jax.acquisitions._coverage import Features
from dact_jax.geometry import k_means
from dact_jax.geometry.coverage import herding, purity
from dact_jax.geometry.neighbors import assignment
from dact_jax.types import Acquire, Array, Evidence, Key, Picked

NEEDS_LOGITS = False
READS_IF = _coverage.READS_IF
SCORE = "how many images lie within the radius of it and of no earlier one: the most"

OPTIONS = {
    "delta": kinds.Option(
        kinds.real(), "radius of a ball; 0: the largest at which 95 % are pure"
    ),
    "clusters": kinds.Option(
        kinds.whole(), "of k-means, for delta=0; 0: as many as classes, if known"
    ),
    "restarts": kinds.Option(kinds.whole(1, 10_000), "runs of k-means; the best wins"),
    "features": _coverage.FEATURES,
    "normalize": _coverage.NORMALIZE,
    "max_rows": _coverage.MAX_ROWS,
}


def make(
    *,
    delta: float = 0.0,
    clusters: int = 0,
    restarts: int = 10,
    features: Features = "embedding",
    normalize: bool = True,
    max_rows: int = _coverage.MOST,
) -> Acquire:
    """Greedy coverage of the pool by balls.

    Where all rows are covered, the lowest free rows follow, with score 0.

    Args:
      delta: radius; a row at exactly this distance is covered. 0: as above, over all
        rows (`purity.largest_radius`).
      clusters: of k-means; 0: as many as there are classes or, where there are no
        logits to tell, labelled rows and picks together.
      restarts: of k-means.
      features: "embedding" or "input", the representation that training does not
        change.
      normalize: whether each point is divided by its length, as in the paper.
      max_rows: of a larger pool, so many free rows are drawn, and the others neither
        count nor are picked.
    """

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        free = _ranking.free_rows(taken, budget)
        if budget == 0:
            return Picked(free[:0], np.zeros(0, np.float32))
        points = _ranking.points(
            evidence, taken.size, features=features, normalize=normalize
        )
        radius = delta
        if not radius:
            logits = evidence.outputs.get("classifier")
            classes = taken.sum() + budget if logits is None else logits.shape[1]
            count = min(clusters or int(classes), taken.size)
            label = _clusters(points, count, restarts, key)
            radius = purity.largest_radius(points, label)
        return herding.select(
            points,
            budget,
            labelled=taken,
            kernel="top_hat",
            scale=radius,
            max_rows=max_rows,
        )

    return acquire


def _clusters(points: Array, count: int, restarts: int, key: Key) -> np.ndarray:
    """int32[N], the number of the nearest centroid; the first of those that tie."""
    weight = jnp.ones(len(points), jnp.float32)
    found = k_means.k_means(points, weight, count, restarts=restarts, key=key)
    return assignment.nearest_center(points, found.centroid)
