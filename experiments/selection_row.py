"""One row of `bench_selection`: starts the processes and sums up their answers."""

import contextlib
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dact_jax import errors
from experiments import selection_process

# Columns that identify a row.
CELL = ("data", "rows", "width", "budget", "cores", "platform", "cpu")
SHORT = (20, 60)  # picks that are timed where the whole budget would take too long
TOLERANCE = 1e-4  # relative, of the cover radius

Row = dict[str, Any]
Job = Mapping[str, Any]  # for a process, as JSON


def physical_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextlib.contextmanager
def bound(cores: int) -> Iterator[None]:
    """Binds this process, and those that it starts, to the last so many cores.

    Raises:
      InputError: there are fewer cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    usable = os.sched_getaffinity(0)
    if cores > len(usable):
        raise errors.InputError(f"--cores={cores}, but only {len(usable)} are usable.")
    os.sched_setaffinity(0, sorted(usable)[-cores:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def call(job: Job, cores: int) -> Row:
    """The answer of `selection_process`, or {"failed": reason}."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    env = {**os.environ, **{name: str(cores) for name in threads}}
    env["JAX_PLATFORMS"] = "cpu" if job["platform"] == "cpu" else "cuda,cpu"
    if job["platform"] == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""  # for torch
    module = "experiments.selection_process"
    command = [sys.executable, "-m", module, f"--job={json.dumps(job)}"]
    root = pathlib.Path(__file__).parents[1]
    done = subprocess.run(
        command, env=env, cwd=root, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        return {"failed": f"exit {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def _too_long(name: str, job: Job, limit: float) -> bool:
    """Whether the whole budget would take too many seconds, or too much memory."""
    if name == "ours" or job["budget"] <= SHORT[1]:
        return False
    if name == "skactiveml" and 8 * job["rows"] * job["budget"] > physical_memory() / 4:
        return True  # it returns float64[budget, N]
    answer = call({**job, "short": SHORT, "repeats": 1}, job["cores"])
    return "failed" not in answer and answer["warm_s"][0] > limit


def _answers(job: Job, names: Sequence[str], rounds: int) -> dict[str, list[Row]]:
    """The answers of the processes of each contestant, which are started in turn.

    Args:
      names: contestants, ours first.
      rounds: processes of each contestant.
    """
    answers: dict[str, list[Row]] = {name: [] for name in names}
    shortened: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as folder:
        base = {**job, "what": "contestant", "reference": None, "radius": None}
        for _, name in itertools.product(range(rounds), names):
            picks = f"{folder}/{name}.npy"
            own_job = {**base, "contestant": name, "short": None, "picks": picks}
            if name != "ours" and "radius" in answers["ours"][0]:
                own_job["reference"] = f"{folder}/ours.npy"
                own_job["radius"] = answers["ours"][0]["radius"]
            if name not in shortened:
                shortened[name] = _too_long(name, own_job, job["limit"])
            own_job["short"] = SHORT if shortened[name] else None
            answers[name].append(call(own_job, job["cores"]))
            print(name, answers[name][-1], file=sys.stderr, flush=True)
    return answers


def summary(answers: Sequence[Row], ours: float | None) -> Row:
    """One entry of a row from the answers of all processes of a contestant.

    Args:
      ours: median seconds of dact_jax; None for its own entry.
    """
    failed = [answer for answer in answers if "failed" in answer]
    if failed:
        return failed[0]
    warm = [value for answer in answers for value in answer["warm_s"]]
    seconds = selection_process.median(warm)
    gap = max(answer["gap"] for answer in answers)
    return {
        "seconds": seconds,
        "ratio": None if ours is None else seconds / ours,
        "estimated": answers[0]["estimated"],
        "first_s": selection_process.median([answer["first_s"] for answer in answers]),
        "warm_s": warm,
        "memory_mb": max(answer["memory_mb"] for answer in answers),
        "memory_before_mb": max(answer["memory_before_mb"] for answer in answers),
        "picks": answers[0]["picks"],
        "equal": min(answer["equal"] for answer in answers),
        "radius": answers[0]["radius"],
        "gap": gap,
        "agrees": gap <= TOLERANCE,
    }


def measure(job: Job, names: Sequence[str], rounds: int) -> Row:
    """A row: all contestants on the same points, and the limits of the machine.

    Args:
      names: contestants, ours first.
      rounds: processes of each contestant.

    Raises:
      InputError: the machine cannot be measured.
    """
    limits = call({**job, "what": "hardware"}, job["cores"])
    if "failed" in limits:
        raise errors.InputError(f"the machine cannot be measured: {limits['failed']}.")
    answers = _answers(job, names, rounds)
    entries = {"ours": summary(answers["ours"], None)}
    ours = entries["ours"].get("seconds")
    for name in names[1:]:
        entries[name] = summary(answers[name], ours)
    pairs = job["rows"] * job["width"] * job["budget"]
    floor = 4 * pairs / limits["bytes_per_s"]
    return {
        **{
            key: job[key] for key in (*CELL, "cpu_cores", "repeats", "versions", "code")
        },
        "rounds": rounds,
        **limits,
        "floor_s": floor,
        "floor_to_ours": ours and floor / ours,
        "peak_share": ours and 2 * pairs / (ours * limits["flop_per_s"]),
        "contestants": entries,
    }
