"""High-dimensional points laid out on a plane, to be looked at."""

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]  # of scikit-learn
from sklearn import manifold
from sklearn.utils import extmath

_DIMENSIONS = 50  # of what t-SNE sees
_PERPLEXITY = 30.0
_ITERATIONS = 500  # half of the default in half the time, for the same picture


def pca(points: np.ndarray, dimensions: int = 2) -> np.ndarray:
    """Coordinates along the directions of largest variance.

    Args:
      points: float32[n, F], one or more.
      dimensions: D; where there are fewer directions, the rest is 0.

    Returns:
      float32[n, D].
    """
    centred = points.astype(np.float64) - points.mean(0, dtype=np.float64)
    found = min(dimensions, *points.shape)
    left, size, _ = extmath.randomized_svd(centred, found, random_state=0)
    out = np.zeros((len(points), dimensions), np.float32)
    out[:, :found] = left * size
    return out


def t_sne(points: np.ndarray) -> np.ndarray:
    """t-SNE (van der Maaten & Hinton, JMLR 2008) of the first 50 principal components.

    Args:
      points: float32[n, F], one or more.

    Returns:
      float32[n, 2]. Three points or fewer, and points in one place, have no
      neighbourhoods to keep: of those, `pca`.
    """
    start = pca(points)
    if len(points) <= 3 or not start.any():
        return start
    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    layout = manifold.TSNE(
        perplexity=perplexity, init="pca", max_iter=_ITERATIONS, random_state=0
    )
    dimensions = max(2, min(_DIMENSIONS, *points.shape))
    # One thread: the sums come in one order, so the picture is the same everywhere,
    # and scikit-learn's threads do not wait for one another on a busy machine.
    with threadpoolctl.threadpool_limits(1):
        return layout.fit_transform(pca(points, dimensions))
