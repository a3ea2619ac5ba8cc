"""The rows of each batch: endless shuffled epochs with random access."""

import functools
from collections.abc import Callable, Sequence

import numpy as np


def order(
    rows: np.ndarray, batch: int, seed: Sequence[int]
) -> Callable[[int], np.ndarray]:
    """Orders a pool into batches: each epoch shuffles the rows and drops the remainder.

    No batch mixes two epochs. If the pool is smaller than a batch, each epoch is one
    batch: the shuffled pool, repeated to fill the batch, so that its first len(rows)
    elements are all rows.

    Args:
      rows: int[n], n > 0, the rows of the pool.
      seed: integers that determine the shuffles.

    Returns:
      A function from the position of a batch (0, 1, ...) to its rows, int[batch].
    """
    per_epoch = max(1, len(rows) // batch)

    @functools.lru_cache(maxsize=2)  # neighboring positions share an epoch
    def shuffled(epoch: int) -> np.ndarray:
        return np.random.default_rng([*seed, epoch]).permutation(rows)

    def batch_at(position: int) -> np.ndarray:
        epoch, i = divmod(position, per_epoch)
        return np.resize(shuffled(epoch)[i * batch : (i + 1) * batch], batch)

    return batch_at
