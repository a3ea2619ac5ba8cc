"""One process of `bench_selection`: times a contestant, or measures the machine.

    python -m experiments.selection_process '{"what": "hardware", "platform": "cpu"}'

The last line of its output is a JSON object.
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

from experiments import selection_contestants, selection_data

MATVEC = (244_141, 512)  # 500 MB
MATMUL = 2048
TRIES = 7


def extrapolate(few: float, many: float, picks: Sequence[int], budget: int) -> float:
    """Seconds for the budget, on a line through those for fewer picks.

    Args:
      few: seconds for picks[0].
      many: seconds for picks[1].
      picks: two numbers of picks, rising.
      budget: more than both.
    """
    slope = (many - few) / (picks[1] - picks[0])
    if slope <= 0:  # noise: all of it is for the picks
        return many * budget / picks[1]
    return many + slope * (budget - picks[1])


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call takes, and what it returns."""
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result


def memory(*, anew: bool = False) -> float:
    """Peak resident memory of this process so far, MB.

    On Linux by its own account: getrusage counts what the parent held before.

    Args:
      anew: forget what was before; on Linux only.
    """
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    if anew:
        with contextlib.suppress(OSError):
            pathlib.Path("/proc/self/clear_refs").write_text("5")
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
    return int(peak) * 1024 / 1e6


def time_whole(
    run: Callable[[int], np.ndarray], budget: int, repeats: int, limit: float
) -> tuple[dict[str, Any], np.ndarray]:
    """First call and warm runs, and the picks.

    Args:
      run: budget -> picks.
      budget: number of picks.
      repeats: warm runs.
      limit: seconds after which no further run begins, once there are two.
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
    """What the budget would take, from runs with fewer picks.

    Args:
      run: budget -> picks.
      budget: number of picks that is not tried.
      repeats: estimates, each from two warm runs.
      limit: seconds after which no further estimate begins, once there is one.
      picks: two numbers of picks, rising.
    """
    few, many = picks
    for some in picks:
        found = run(some)  # compiles
    warm: list[float] = []
    began = time.perf_counter()
    while not warm or (len(warm) < repeats and time.perf_counter() - began < limit):
        pair = [seconds(lambda n=n: run(n))[0] for n in (few, many)]
        warm.append(extrapolate(*pair, picks, budget))
    return {"first_s": None, "warm_s": warm, "estimated": True}, found


def agreement(
    points: np.ndarray, picks: np.ndarray, job: Mapping[str, Any]
) -> dict[str, Any]:
    """How the picks compare with ours: equal positions, and the radius they leave.

    Args:
      points: [N, F].
      picks: of this contestant, perhaps fewer than the budget.
      job: "reference" is the file of our picks, "radius" what they leave.
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
    """Times one contestant on one set of points."""
    features = job["features"] and pathlib.Path(job["features"])
    points = selection_data.load(job["data"], job["rows"], job["width"], features)
    selection_contestants.prepare(job["contestant"])
    before = memory(anew=True)
    select = selection_contestants.CONTESTANTS[job["contestant"]]

    def run(budget: int) -> np.ndarray:
        return select(points, budget)

    settings = (job["budget"], job["repeats"], job["limit"])
    if job["short"]:
        found, picks = time_short(run, *settings, job["short"])
    else:
        found, picks = time_whole(run, *settings)
    peak = memory()
    if len(np.unique(picks)) < len(picks):
        raise SystemExit(f"{job['contestant']} picked a row twice.")
    np.save(job["picks"], picks)
    mine = {"picks": len(picks), "memory_mb": peak, "memory_before_mb": before}
    return {**found, **mine, **agreement(points, picks, job)}


def hardware(job: Mapping[str, Any]) -> dict[str, Any]:
    """Bytes/s of a pass over 500 MB and FLOP/s of a float32 product, best of several.

    On a CPU the better of NumPy's and JAX's; on an accelerator JAX's.
    """
    import jax
    import jax.numpy as jnp

    high = jax.lax.Precision.HIGHEST
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, precision=high))
    long = np.ones(MATVEC, np.float32)
    square = np.ones((MATMUL, MATMUL), np.float32)
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
        "flop_per_s": 2 * MATMUL**3 / best["product"],
        "device": jax.devices()[0].device_kind,
    }


def median(values: Sequence[float | None]) -> float | None:
    """Of those that are known."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def main() -> None:
    """Does what the JSON object on the command line says, and prints one."""
    job = json.loads(sys.argv[1])
    found = {"hardware": hardware, "contestant": contestant}[job["what"]](job)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
