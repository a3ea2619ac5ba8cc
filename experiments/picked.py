"""How picks differ from their pool: class frequencies, and distance to the others."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import neighbors

from dact_jax.types import Domain, Pools, Task


def variation(count: ArrayLike, other: ArrayLike) -> float:
    """Total variation of two class distributions; 0: equal, 1: no class in common.

    Args:
      count: int[K], samples of each class.
      other: int[K], samples of each class in another set.
    """
    p, q = (np.asarray(counts, np.float64) for counts in (count, other))
    return float(np.abs(p / p.sum() - q / q.sum()).sum() / 2)


def apart(domain: Domain) -> np.ndarray:
    """How far each sample of a pool lies from the others, float64[N].

    It is the share of the pool with a smaller Euclidean distance to the nearest
    neighbor, of the images or vectors as they are stored: 0.5 is usual, 1 an outlier.

    Args:
      domain: its `train` is the pool.
    """
    points = np.asarray(domain.train.image[:]).reshape(len(domain.id), -1)
    points = points.astype(np.float32)
    search = neighbors.NearestNeighbors(n_neighbors=2, algorithm="brute").fit(points)
    nearest = search.kneighbors(points)[0][:, 1]
    return np.searchsorted(np.sort(nearest), nearest) / len(nearest)


def composition(pools: Pools, task: Task) -> dict[str, Any]:
    """How the kept source N and the bought labels T_l differ from their pools.

    Returns:
      Columns of a row: the total variation of the class frequencies of N and the source
      (`source_variation`), N and the target pool (`source_to_target`), T_l and the
      target pool (`target_variation`); the number of classes without a bought label
      (`unseen_classes`); the mean of `apart` over T_l (`target_apart`).
    """
    source, target = (
        np.asarray(domain.train.label) for domain in (task.source, task.target)
    )

    def count(label: np.ndarray) -> np.ndarray:
        return np.bincount(label[label >= 0], minlength=len(task.class_names))

    kept, bought = count(source[pools.source]), count(target[pools.target])
    return {
        "source_variation": round(variation(kept, count(source)), 4),
        "source_to_target": round(variation(kept, count(target)), 4),
        "target_variation": round(variation(bought, count(target)), 4),
        "unseen_classes": int((bought == 0).sum()),
        "target_apart": round(float(apart(task.target)[pools.target].mean()), 4),
    }
