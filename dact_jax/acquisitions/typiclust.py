"""TypiClust (Hacohen et al., ICML 2022): the most typical row of uncovered clusters.

K-means makes min(|L| + b, 500) clusters of all rows, with |L| rows labelled and budget
b. Clusters come in the order of fewest labelled rows, then most rows. Each gives the
free row of highest typicality,

    typicality(x) = 1 / mean distance of x to its min(20, n / 2) nearest neighbors

among the n rows of its cluster; when all have given one, they give a second, and so on.
Clusters of fewer than 6 rows have their turn when the others have no free row left.

Where the paper is silent: neighbors are labelled rows, too, since typicality is a
matter of the data; n / 2 is rounded down, but is at least 1.
"""

import jax.numpy as jnp
import numpy as np

from dact_jax import kinds
from dact_jax.acquisitions import _coverage, _ranking
from dact_jax.acquisitions._coverage import Features
from dact_jax.geometry import k_means
from dact_jax.geometry.neighbors import assignment, graph
from dact_jax.types import Acquire, Evidence, Key, Picked

NEEDS_LOGITS = False
READS_IF = _coverage.READS_IF

OPTIONS = {
    "features": _coverage.FEATURES,
    "normalize": _coverage.NORMALIZE,
    "most": kinds.Option(kinds.whole(1), "most clusters"),
    "neighbors": kinds.Option(kinds.whole(1), "most neighbors that count"),
    "smallest": kinds.Option(kinds.whole(1), "fewest rows of a cluster that counts"),
    "restarts": kinds.Option(kinds.whole(1, 10_000), "runs of k-means; the best wins"),
}


def make(
    *,
    features: Features = "input",
    normalize: bool = True,
    most: int = 500,
    neighbors: int = 20,
    smallest: int = 6,
    restarts: int = 10,
) -> Acquire:
    """The most typical row of each cluster; ties go to the lowest row.

    The score of a pick is 1 / typicality, the mean distance to its neighbors, which is
    0 among copies.

    Args:
      features: "input" (what training does not change, as in the paper) or "embedding".
      normalize: whether points are divided by their length, as in the reference code.
      most: largest number of clusters.
      neighbors: largest number of neighbors.
      smallest: clusters with fewer rows come last.
      restarts: of k-means.
    """

    def acquire(evidence: Evidence, taken: np.ndarray, budget: int, key: Key) -> Picked:
        free = _ranking.free_rows(taken, budget)
        points = np.asarray(
            _ranking.points(
                evidence, taken.size, features=features, normalize=normalize
            )
        )
        if budget == 0:
            return Picked(free[:0], np.zeros(0, np.float32))
        num_clusters = min(int(taken.sum()) + budget, most, taken.size)
        weight = jnp.ones(taken.size, jnp.float32)
        clusters = k_means.k_means(
            points, weight, num_clusters, restarts=restarts, key=key
        )
        label = assignment.nearest_center(points, clusters.centroid)

        def typical(cluster: int) -> tuple[np.ndarray, np.ndarray]:
            row = np.flatnonzero(label == cluster)
            distance = mean_distances(points[row], neighbors)
            left = ~taken[row]
            row, distance = row[left], distance[left]
            order = np.argsort(distance, kind="stable")
            return row[order].astype(np.int32), distance[order]

        picks: list[tuple[np.ndarray, np.ndarray]] = []
        for tier in tiers(label, taken, smallest):
            left = budget - sum(len(row) for row, _ in picks)
            picks.append(in_turns([typical(c) for c in tier[:left]], left))
        row, score = (np.concatenate(part) for part in zip(*picks, strict=True))
        return Picked(row, score)

    return acquire


def mean_distances(points: np.ndarray, most: int) -> np.ndarray:
    """float64[n], to the min(most, n / 2) nearest others, at least one; 0 for n = 1.

    Args:
      points: float32[n, F].
      most: number of neighbors.
    """
    num = len(points)
    if num == 1:
        return np.zeros(1)
    near = graph.nearest(points, max(1, min(most, num // 2)))
    return near.distance.mean(1, dtype=np.float64)


def tiers(label: np.ndarray, taken: np.ndarray, smallest: int) -> list[list[int]]:
    """Clusters with a free row, in their order: first those that count, then others.

    Args:
      label: int[N], the cluster of each row.
      taken: bool[N], labelled rows.
      smallest: fewest rows of a cluster that counts.
    """
    cluster, first, size = np.unique(label, return_index=True, return_counts=True)
    num_taken = np.bincount(label[taken], minlength=cluster.max() + 1)[cluster]
    order = np.lexsort((first, -size, num_taken))
    order = order[num_taken[order] < size[order]]
    counts = size[order] >= smallest
    return [cluster[order[counts]].tolist(), cluster[order[~counts]].tolist()]


def in_turns(
    queues: list[tuple[np.ndarray, np.ndarray]], budget: int
) -> tuple[np.ndarray, np.ndarray]:
    """(int32[n] rows, float32[n] scores), n <= budget, one of each queue in turn.

    Args:
      queues: rows and scores, each in the order in which they are given.
      budget: most rows.
    """
    none = np.zeros(0, np.int32), np.zeros(0)
    row, score = (np.concatenate(part) for part in zip(*[none, *queues], strict=True))
    turn = np.concatenate([np.arange(len(queue)) for queue, _ in [none, *queues]])
    first = np.argsort(turn, kind="stable")[:budget]
    return row[first], score[first].astype(np.float32)
