"""How long weighted k-means takes here and in scikit-learn, and how good it is.

    python experiments/bench_k_means.py --rows=60000 --width=512 --k=1000

Both are timed in turn in one process on the same mixture of Gaussians, after a call
that compiles. Each repeat is a restart: greedy k-means++ seeds, then Lloyd from there.
Printed are medians of the times, and the mean and the best of the inertias. One
iteration of Lloyd is the difference of a short and a long run from the same seeds.
scikit-learn's seeding takes minutes at this size.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from absl import app, flags
from sklearn import cluster

from dact_jax.geometry import k_means, k_means_seeds, points, weighted_points

_ROWS = flags.DEFINE_integer("rows", 60_000, "N.")
_WIDTH = flags.DEFINE_integer("width", 512, "F.")
_K = flags.DEFINE_integer("k", 1000, "Clusters, and parts of the mixture.")
_SPREAD = flags.DEFINE_float("spread", 4.0, "Of a part, next to that of the centres.")
_ITERATIONS = flags.DEFINE_integer("iterations", 5, "Of Lloyd, after the first.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Restarts of each.")


class Side(NamedTuple):
    """One of the two implementations."""

    seed: Callable[[int], np.ndarray]  # number -> int[k], rows
    lloyd: Callable[[np.ndarray, int], tuple[float, int]]  # -> inertia, iterations


def mixture() -> tuple[np.ndarray, np.ndarray]:
    """Points float32[N, F] and their weights float32[N]."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((_K.value, _WIDTH.value), np.float32)
    point = centers[rng.integers(_K.value, size=_ROWS.value)]
    noise = rng.standard_normal(point.shape, np.float32)
    weight = rng.uniform(0.05, 2, len(point)).astype(np.float32)
    return point + np.float32(_SPREAD.value) * noise, weight


def ours(point: np.ndarray, weight: np.ndarray) -> Side:
    """This package's; to be called under `jax.enable_x64`."""
    view = weighted_points.make(points.make(point), weight, 2**22 // _K.value)

    def seed(number: int) -> np.ndarray:
        return k_means_seeds.greedy(view, _K.value, jax.random.key(number))

    def lloyd(row: np.ndarray, iterations: int) -> tuple[float, int]:
        begin = weighted_points.rows(view, row)
        _, inertia, done = k_means.lloyd(view, begin, iterations, 0.0)
        return inertia, done

    return Side(seed, lloyd)


def theirs(point: np.ndarray, weight: np.ndarray) -> Side:
    """scikit-learn's."""

    def seed(number: int) -> np.ndarray:
        _, row = cluster.kmeans_plusplus(
            point, _K.value, sample_weight=weight, random_state=number
        )
        return row

    def lloyd(row: np.ndarray, iterations: int) -> tuple[float, int]:
        fit = cluster.KMeans(
            _K.value, init=point[row], n_init=1, max_iter=iterations, tol=0
        )
        fit.fit(point, sample_weight=weight)
        return float(fit.inertia_), fit.n_iter_

    return Side(seed, lloyd)


def restart(side: Side, number: int) -> tuple[float, float, float]:
    """(seconds of seeding, seconds of an iteration of Lloyd, inertia)."""
    at = [time.perf_counter()]
    row = side.seed(number)
    at.append(time.perf_counter())
    side.lloyd(row, 1)
    at.append(time.perf_counter())
    inertia, done = side.lloyd(row, 1 + _ITERATIONS.value)
    at.append(time.perf_counter())
    seeding, short, long = np.diff(at)
    return seeding, (long - short) / max(done - 1, 1), inertia


def main(argv: Sequence[str]) -> None:
    """Times both and prints the table."""
    del argv
    with jax.enable_x64(True):
        data = mixture()
        sides = {"dact_jax": ours(*data), "scikit-learn": theirs(*data)}
        sides["dact_jax"].lloyd(sides["dact_jax"].seed(0), 1)  # compiles
        found: dict[str, list[tuple[float, float, float]]] = {x: [] for x in sides}
        for number in range(_REPEATS.value):
            for name, side in sides.items():
                found[name].append(restart(side, number))
    print("| | seeding, s | an iteration, s | inertia, mean | inertia, best |")
    print("|---|---|---|---|---|")
    for name, results in found.items():
        seeds, ones, costs = zip(*results, strict=True)
        times = f"{statistics.median(seeds):.2f} | {statistics.median(ones):.3f}"
        print(f"| {name} | {times} | {statistics.mean(costs):.6g} | {min(costs):.6g} |")


if __name__ == "__main__":
    app.run(main)
