"""One selection by herding, in a process of its own, for `bench_herding`.

Makes: nothing; it prints {"seconds", "peak", "picks", "coverage"}.
Data:  as `bench_herding`.
Time:  that of the selection.

The peers are lazy greedy searches as one writes them in NumPy or PyTorch: gains in
blocks of matrix products, stale gains as bounds, the largest first, in float32.
"""

import json
import os
import pathlib
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl.flags import FlagValues

from experiments import commands, selection_data

_ROWS = 8192  # points in a product, with `_FIRST` or `_LATER` candidates
_FIRST, _LATER = 512, 64


def ours(points: np.ndarray, budget: int, scale: float, max_rows: int) -> np.ndarray:
    """The picks of this package."""
    import dact_jax

    return dact_jax.herd(points, budget, scale=scale, max_rows=max_rows)


def lazily(
    gains: Callable[[np.ndarray], np.ndarray],
    cover: Callable[[int], None],
    num: int,
    budget: int,
) -> np.ndarray:
    """Greedy picks by stale gains: those of the largest are computed until one wins."""
    bound, picks = np.full(num, np.inf), []
    for _ in range(budget):
        fresh = np.zeros(num, bool)
        while True:
            stale = np.where(fresh, -np.inf, bound)
            best = np.max(bound, initial=-1, where=fresh)
            count = _LATER if picks else _FIRST
            at = np.argpartition(-stale, min(count, num - 1))[:count]
            at = at[stale[at] > best]
            if not len(at):
                break
            bound[at], fresh[at] = gains(at), True
        pick = int(np.argmax(np.where(fresh, bound, -1)))
        picks.append(pick)
        cover(pick)
        bound[pick] = -1
    return np.array(picks)


def numpy(points: np.ndarray, budget: int, scale: float) -> np.ndarray:
    """The lazy search in NumPy."""
    x = points * np.float32(2**0.5 / scale)
    half = np.einsum("nf,nf->n", x, x) / 2
    coverage = np.zeros(len(x), np.float32)

    def similar(rows: slice, at: np.ndarray) -> np.ndarray:
        k = x[rows] @ x[at].T
        k -= half[rows, None]
        k -= half[at]
        return np.exp(k, out=k)

    def gains(at: np.ndarray) -> np.ndarray:
        total = np.zeros(len(at))
        for first in range(0, len(x), _ROWS):
            rows = slice(first, first + _ROWS)
            k = similar(rows, at)
            k -= coverage[rows, None]
            total += np.maximum(k, 0, out=k).sum(0)
        return total

    def cover(pick: int) -> None:
        every = similar(slice(None), np.array([pick]))[:, 0]
        np.maximum(coverage, every, out=coverage)

    return lazily(gains, cover, len(x), budget)


def torch(points: np.ndarray, budget: int, scale: float) -> np.ndarray:
    """The lazy search in PyTorch."""
    import torch as library

    library.set_num_threads(len(os.sched_getaffinity(0)))
    x = library.from_numpy(points) * (2**0.5 / scale)
    half = (x * x).sum(1) / 2
    coverage = library.zeros(len(x))

    def similar(rows: slice, at: Any) -> Any:
        k = x[rows] @ x[at].T
        return k.sub_(half[rows, None]).sub_(half[at]).exp_()

    def gains(at: np.ndarray) -> np.ndarray:
        total = library.zeros(len(at), dtype=library.float64)
        for first in range(0, len(x), _ROWS):
            rows = slice(first, first + _ROWS)
            k = similar(rows, library.from_numpy(at))
            total += k.sub_(coverage[rows, None]).clamp_(min=0).sum(0)
        return np.asarray(total)

    def cover(pick: int) -> None:
        every = similar(slice(None), library.tensor([pick]))[:, 0]
        library.maximum(coverage, every, out=coverage)

    return lazily(gains, cover, len(x), budget)


def coverage(points: np.ndarray, picks: np.ndarray, scale: float) -> float:
    """Mean similarity of a point to the nearest pick, in float64."""
    x = points.astype(np.float64) - points.mean(0)
    chosen = x[picks]
    added, total = np.einsum("nf,nf->n", chosen, chosen), 0.0
    for first in range(0, len(x), _ROWS):
        block = x[first : first + _ROWS]
        squared = added - 2 * (block @ chosen.T)
        squared += np.einsum("nf,nf->n", block, block)[:, None]
        total += float(np.exp(-np.maximum(squared.min(1), 0) / scale**2).sum())
    return total / len(x)


@commands.command(__doc__, commands.text("job", None, "A JSON object."))
def main(flags: FlagValues) -> None:
    """Does one selection and prints what it took and found."""
    job = json.loads(flags.job)
    features = job["features"]
    points = selection_data.load(
        job["data"],
        job["rows"],
        job["width"],
        pathlib.Path(features) if features else None,
    )
    name, scale = job["name"], job["scale"]
    started = time.perf_counter()
    if name in ("numpy", "torch"):
        picks = {"numpy": numpy, "torch": torch}[name](points, job["budget"], scale)
    else:
        picks = ours(points, job["budget"], scale, job["max_rows"])
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = {
        "seconds": seconds,
        "peak": peak,
        "picks": picks.tolist(),
        "coverage": coverage(points, picks, scale),
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv)
