"""One process of `bench_selection`: times a contestant, or measures the machine.

Makes: a JSON object, in the last line of the output.
Data:  what the job names.
Time:  that of the job.

    python -m experiments.selection_process \\
        --job='{"what": "hardware", "platform": "cpu", "pass_rows": 100, "product": 64}'
"""

import contextlib
import json
import pathlib
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from absl.flags import FlagValues

from experiments import commands, selection_contestants, selection_data

PASS_ROWS = 244_141  # of PASS_WIDTH: 500 MB
PASS_WIDTH = 512
PRODUCT = 2048
TRIES = 7


def extrapolate(few: float, many: float, picks: Sequence[int], budget: int) -> float:
    """Seconds for the budget, on a line through the seconds for fewer picks.

    Args:
      few: seconds for picks[0].
      many: seconds for picks[1].
      picks: two numbers of picks, ascending.
      budget: number of picks, more than both.
    """
    slope = (many - few) / (picks[1] - picks[0])
    if slope <= 0:  # noise: assume that the seconds are proportional to the picks
        return many * budget / picks[1]
    return many + slope * (budget - picks[1])


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """The seconds that a call takes, and what it returns."""
    started = time.perf_counter()
    result = run()
    return time.perf_counter() - started, result


def memory(*, reset: bool = False) -> float:
    """Peak resident memory of this process so far, in MB.

    On Linux it is read from /proc, since getrusage counts the parent's memory before
    the process was started.

    Args:
      reset: whether the peak is counted from now on; on Linux only.
    """
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    if reset:
        with contextlib.suppress(OSError):
            pathlib.Path("/proc/self/clear_refs").write_text("5")
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
    return int(peak) * 1024 / 1e6


def time_whole(
    run: Callable[[int], np.ndarray], budget: int, repeats: int, limit: float
) -> tuple[dict[str, Any], np.ndarray]:
    """Seconds of the first call and of warm calls, and the picks.

    Args:
      run: budget -> picks.
      budget: number of picks.
      repeats: warm calls.
      limit: seconds after which no further call starts, once there are two.
    """
    first, picks = seconds(lambda: run(budget))
    warm: list[float] = []
    while len(warm) < repeats and (len(warm) < 2 or sum(warm) < limit):
        warm.append(seconds(lambda: run(budget))[0])
    return {"first_s": first, "warm_s": warm, "estimated": False}, picks


def time_short(
    run: Callable[[int], np.ndarray],
    budget: int,
    repeats: int,
    limit: float,
    picks: Sequence[int],
) -> tuple[dict[str, Any], np.ndarray]:
    """Estimated seconds for the budget, and the picks of the longer of two calls.

    Args:
      run: budget -> picks.
      budget: number of picks to extrapolate to.
      repeats: estimates, each from two warm calls.
      limit: seconds after which no further estimate starts, once there is one.
      picks: two numbers of picks, ascending.
    """
    few, many = picks
    run(few)  # these calls compile
    longer = run(many)
    warm: list[float] = []
    started = time.perf_counter()
    while not warm or (len(warm) < repeats and time.perf_counter() - started < limit):
        pair = [seconds(lambda n=n: run(n))[0] for n in (few, many)]
        warm.append(extrapolate(*pair, picks, budget))
    return {"first_s": None, "warm_s": warm, "estimated": True}, longer


def agreement(
    points: np.ndarray, picks: np.ndarray, job: Mapping[str, Any]
) -> dict[str, Any]:
    """How picks compare with those of dact_jax.

    Args:
      points: float32[N, F].
      picks: of this contestant, perhaps fewer than the budget.
      job: "reference" is the file with the picks of dact_jax, "radius" their cover
        radius; both are None for dact_jax itself.

    Returns:
      "radius": the cover radius, "equal": number of positions with the same pick,
      "gap": relative difference of both cover radii.
    """
    if job["reference"] is None:
        radius = selection_data.cover_radius(points, picks)
        return {"radius": radius, "equal": len(picks), "gap": 0.0}
    ours = np.load(job["reference"])
    best = job["radius"] if len(picks) == len(ours) else None
    ours = ours[: len(picks)]
    equal = int(np.sum(picks == ours))
    if equal == len(picks):
        return {"radius": best, "equal": equal, "gap": 0.0}
    radius = selection_data.cover_radius(points, picks)
    best = best or selection_data.cover_radius(points, ours)
    gap = abs(radius - best) / max(best, np.finfo(float).tiny)
    return {"radius": radius, "equal": equal, "gap": gap}


def contestant(job: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a job that times one contestant on one set of points."""
    features = job["features"] and pathlib.Path(job["features"])
    points = selection_data.load(job["data"], job["rows"], job["width"], features)
    selection_contestants.prepare(job["contestant"])
    before = memory(reset=True)
    select = selection_contestants.CONTESTANTS[job["contestant"]]

    def run(budget: int) -> np.ndarray:
        return select(points, budget)

    settings = (job["budget"], job["repeats"], job["limit"])
    if job["short"]:
        timing, picks = time_short(run, *settings, job["short"])
    else:
        timing, picks = time_whole(run, *settings)
    peak = memory()
    if len(np.unique(picks)) < len(picks):
        raise SystemExit(f"{job['contestant']} picked a row twice.")
    np.save(job["picks"], picks)
    return {
        **timing,
        "picks": len(picks),
        "memory_mb": peak,
        "memory_before_mb": before,
        **agreement(points, picks, job),
    }


def hardware(job: Mapping[str, Any]) -> dict[str, Any]:
    """Memory bandwidth and peak of a float32 product, the best of several tries.

    On a CPU the better of NumPy and JAX, on an accelerator JAX.
    """
    import jax
    import jax.numpy as jnp

    high = jax.lax.Precision.HIGHEST
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, precision=high))
    long = np.ones((job["pass_rows"], PASS_WIDTH), np.float32)
    side = job["product"]
    square = np.ones((side, side), np.float32)
    best = {"pass": np.inf, "product": np.inf}
    work = {"pass": (long, long[0]), "product": (square, square)}
    for name, (left, right) in work.items():
        on_device = jax.device_put((left, right))
        ways = [lambda a=on_device: multiply(*a).block_until_ready()]
        if job["platform"] == "cpu":
            ways.append(lambda a=left, b=right: np.matmul(a, b))
        for way in ways:
            way()
            times = [seconds(way)[0] for _ in range(TRIES)]
            best[name] = min(best[name], *times)
    return {
        "bytes_per_s": long.nbytes / best["pass"],
        "flop_per_s": 2 * side**3 / best["product"],
        "device": jax.devices()[0].device_kind,
    }


def median(values: Sequence[float | None]) -> float | None:
    """Median of the values that are not None; None if there are none."""
    numbers = [value for value in values if value is not None]
    return statistics.median(numbers) if numbers else None


@commands.command(__doc__, commands.text("job", None, "A JSON object."))
def main(flags: FlagValues) -> None:
    """Does the job and prints the answer."""
    job = json.loads(flags.job)
    answer = {"hardware": hardware, "contestant": contestant}[job["what"]](job)
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv)
