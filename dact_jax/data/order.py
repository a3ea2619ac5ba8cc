"""Which rows each batch holds: endless shuffled epochs with random access."""

import functools
from collections.abc import Callable, Sequence

import numpy as np


def order(
    rows: np.ndarray, batch: int, seed: Sequence[int]
) -> Callable[[int], np.ndarray]:
    """Batches of rows by position: epochs without replacement, the last part dropped.

    No batch mixes two epochs. A pool smaller than a batch gives one batch an epoch:
    all of it, shuffled, then repeated to fill (the first len(rows) places hold each
    row once).

    Args:
      rows: int32[n], the pool, n > 0.
      batch: rows of one batch.
      seed: integers that name the shuffles.

    Returns:
      A function of the position (0, 1, ...) to int32[batch].
    """
    per_epoch = max(1, len(rows) // batch)

    @functools.lru_cache(maxsize=2)  # neighbouring positions share an epoch
    def shuffled(epoch: int) -> np.ndarray:
        return np.random.default_rng([*seed, epoch]).permutation(rows)

    def at(position: int) -> np.ndarray:
        epoch, part = divmod(position, per_epoch)
        return np.resize(shuffled(epoch)[part * batch : (part + 1) * batch], batch)

    return at
