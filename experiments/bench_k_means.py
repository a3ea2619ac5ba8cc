"""The time of weighted k-means here and in scikit-learn, and the inertia it reaches.

Makes: a printed table: seconds of seeding and of one iteration of Lloyd, and inertia.
Data:  none; points are drawn from a mixture of Gaussians.
Time:  3 min on 2 CPU cores.

    python -m experiments.bench_k_means --rows=60000 --width=512 --k=1000

Both are timed alternately in one process on the same points, after a call that
compiles. Each repeat is a restart: seeds by greedy k-means++, then Lloyd from them.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from absl.flags import FlagValues
from sklearn import cluster

from dact_jax.geometry import k_means, k_means_seeds, points, weighted_points
from experiments import commands, runs


class KMeans(NamedTuple):
    """One of the two implementations."""

    seed: Callable[[int], np.ndarray]  # seed of the draws -> int[k], rows
    # rows, at most so many iterations -> inertia, iterations done
    lloyd: Callable[[np.ndarray, int], tuple[float, int]]


def draw(rows: int, width: int, k: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Points float32[N, F] of k Gaussians, and weights float32[N]."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((k, width), np.float32)
    point = centers[rng.integers(k, size=rows)]
    noise = rng.standard_normal(point.shape, np.float32)
    weight = rng.uniform(0.05, 2, len(point)).astype(np.float32)
    return point + np.float32(spread) * noise, weight


def ours(point: np.ndarray, weight: np.ndarray, k: int) -> KMeans:
    """The implementation of dact_jax; call it under `jax.enable_x64`."""
    view = weighted_points.make(points.make(point), weight, 2**22 // k)

    def seed(number: int) -> np.ndarray:
        return k_means_seeds.greedy(view, k, jax.random.key(number))

    def lloyd(row: np.ndarray, iterations: int) -> tuple[float, int]:
        centers = weighted_points.rows(view, row)
        _, inertia, done = k_means.lloyd(view, centers, iterations, 0.0)
        return inertia, done

    return KMeans(seed, lloyd)


def sklearn(point: np.ndarray, weight: np.ndarray, k: int) -> KMeans:
    """The implementation of scikit-learn."""

    def seed(number: int) -> np.ndarray:
        _, row = cluster.kmeans_plusplus(
            point, k, sample_weight=weight, random_state=number
        )
        return row

    def lloyd(row: np.ndarray, iterations: int) -> tuple[float, int]:
        fit = cluster.KMeans(k, init=point[row], n_init=1, max_iter=iterations, tol=0)
        fit.fit(point, sample_weight=weight)
        return float(fit.inertia_), fit.n_iter_

    return KMeans(seed, lloyd)


def restart(
    implementation: KMeans, number: int, iterations: int
) -> tuple[float, float, float]:
    """(seconds of seeding, seconds of one iteration of Lloyd, inertia)."""
    times = [time.perf_counter()]
    row = implementation.seed(number)
    times.append(time.perf_counter())
    implementation.lloyd(row, 1)
    times.append(time.perf_counter())
    inertia, done = implementation.lloyd(row, 1 + iterations)
    times.append(time.perf_counter())
    seeding, short, long = np.diff(times)
    return seeding, (long - short) / max(done - 1, 1), inertia


@commands.command(
    __doc__,
    commands.integer("rows", 60_000, "Points."),
    commands.integer("width", 512, "Dimensions of a point."),
    commands.integer("k", 1000, "Clusters, and Gaussians of the mixture."),
    commands.number(
        "spread", 4.0, "Deviation of a Gaussian; that of the centers is 1."
    ),
    commands.integer("iterations", 5, "Iterations of Lloyd after the first."),
    commands.integer("repeats", 3, "Restarts of each implementation."),
)
def main(flags: FlagValues) -> None:
    """Times both implementations and prints the table."""
    with jax.enable_x64(True):
        data = draw(flags.rows, flags.width, flags.k, flags.spread)
        implementations = {
            "dact_jax": ours(*data, flags.k),
            "scikit-learn": sklearn(*data, flags.k),
        }
        compiled = implementations["dact_jax"]
        compiled.lloyd(compiled.seed(0), 1)  # this call compiles
        restarts: dict[str, list[tuple[float, float, float]]] = {
            name: [] for name in implementations
        }
        for number in range(flags.repeats):
            for name, implementation in implementations.items():
                restarts[name].append(restart(implementation, number, flags.iterations))
    body = []
    for name, results in restarts.items():
        seeding, lloyd, inertia = zip(*results, strict=True)
        times = [f"{statistics.median(seeding):.2f}", f"{statistics.median(lloyd):.3f}"]
        costs = [f"{statistics.mean(inertia):.6g}", f"{min(inertia):.6g}"]
        body.append([name, *times, *costs])
    head = ["", "seeding, s", "an iteration, s", "inertia, mean", "inertia, best"]
    print(runs.table(head, body))


if __name__ == "__main__":
    main(sys.argv)
