"""The radius of ProbCover: balls that mostly hold points of one cluster."""

import numpy as np

from dact_jax.geometry.coverage import bandwidth
from dact_jax.geometry.on_host import workers
from dact_jax.types import Array

SAMPLE = 1024  # balls, around equally spaced points
PURE = 0.95  # share of balls
_ROWS = 1024  # points that are compared with the centers of all balls at once
_BELOW = 1 - 2.0**-20  # a ball of this share of a distance leaves the point out


def largest_radius(points: Array, label: np.ndarray, share: float = PURE) -> float:
    """The largest radius at which this share of balls is pure.

    A ball around a point is pure if all points in it have the label of its center: if
    the nearest point of another label is farther than the radius. The balls are those
    around 1024 equally spaced points (all, where there are fewer); all points count as
    what is in them. Where no radius makes too many balls impure, such as with one
    label, it is the median distance of pairs of these points.

    Args:
      points: float[N, F], finite.
      label: int[N].
      share: in (0, 1].
    """
    points = np.asarray(points)
    center = np.linspace(0, len(points) - 1, min(SAMPLE, len(points))).astype(int)
    least = np.sort(_to_other(points, label, center))
    first = len(least) - int(np.ceil(share * len(least)))
    if not np.isfinite(least[first]):
        return bandwidth.median_distance(points[center])
    return float(np.sqrt(least[first])) * _BELOW


def _to_other(points: np.ndarray, label: np.ndarray, center: np.ndarray) -> np.ndarray:
    """float64[n], squared distance of centers to the nearest point of another label."""
    origin = points[center].mean(0, dtype=np.float64)
    ball = points[center] - origin
    norm = np.einsum("nf,nf->n", ball, ball)

    def nearest(rows: slice) -> np.ndarray:
        x = points[rows] - origin
        squared = norm[:, None] - 2 * (ball @ x.T) + np.einsum("nf,nf->n", x, x)
        squared[label[center][:, None] == label[rows]] = np.inf
        return squared.min(1)

    parts = (slice(at, at + _ROWS) for at in range(0, len(points), _ROWS))
    least = np.full(len(center), np.inf)
    with workers.one_thread_a_product():
        for found in workers.each(nearest, parts):
            np.minimum(least, found, out=least)
    return np.maximum(least, 0)
