"""High-dimensional points projected to a plane, for pictures.

scikit-learn is slow to import, so it is imported where it is used.
"""

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]  # of scikit-learn

_COMPONENTS = 50  # principal components that t-SNE receives
_PERPLEXITY = 30.0
_ITERATIONS = 500  # half of scikit-learn's default: same picture in half the time


def pca(points: np.ndarray, dimensions: int = 2) -> np.ndarray:
    """Coordinates along the directions of largest variance.

    Args:
      points: float32[n, F], n >= 1.
      dimensions: D; with min(n, F) < D, the remaining coordinates are 0.

    Returns:
      float32[n, D].
    """
    from sklearn.utils import extmath

    centered = points.astype(np.float64) - points.mean(0, dtype=np.float64)
    components = min(dimensions, *points.shape)
    left, size, _ = extmath.randomized_svd(centered, components, random_state=0)
    coordinates = np.zeros((len(points), dimensions), np.float32)
    coordinates[:, :components] = left * size
    return coordinates


def t_sne(points: np.ndarray) -> np.ndarray:
    """t-SNE (van der Maaten & Hinton, JMLR 2008) of the first 50 principal components.

    Three points or fewer, and points that all coincide, have no neighborhoods to
    preserve: the result is then that of `pca`.

    Args:
      points: float32[n, F], n >= 1.

    Returns:
      float32[n, 2].
    """
    plane = pca(points)
    if len(points) <= 3 or not plane.any():
        return plane
    from sklearn import manifold

    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    layout = manifold.TSNE(
        perplexity=perplexity, init="pca", max_iter=_ITERATIONS, random_state=0
    )
    dimensions = max(2, min(_COMPONENTS, *points.shape))
    # One thread fixes the order of the sums, so every machine draws the same picture;
    # it also avoids scikit-learn's threads waiting for one another on a busy machine.
    with threadpoolctl.threadpool_limits(1):
        return layout.fit_transform(pca(points, dimensions))
