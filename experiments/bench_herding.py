"""The time of herding: dact_jax beside lazy greedy searches in NumPy and in PyTorch.

Makes: experiments/results/herding.json, a row for each set of points.
Data:  none for --data=mixture, noise and power, which are drawn; otherwise --features.
Time:  3 min for 60,000 x 512 points and one round.

    python -m experiments.bench_herding --data=mixture --rows=60000 --width=512
    python -m experiments.bench_herding --data=mnist --features=x.npy \\
        --contestants=ours --drawn=8192,16384

Each contestant runs in a process of its own, in turn, --rounds times; the first call
counts, from an array on the host to picks there. All have the same bandwidth, the
median distance of pairs among 1024 points. --drawn adds our search among so many drawn
rows, in place of all. `coverage` is the mean similarity of a point to the nearest pick;
`equal`, the share of the picks that are those of ours at the same place.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
from typing import Any

import numpy as np
from absl.flags import FlagValues

from dact_jax import errors
from dact_jax.geometry.coverage import bandwidth, herding
from experiments import (
    commands,
    fingerprints,
    machine,
    published,
    runs,
    selection_data,
    selection_row,
)

NAMES = ("ours", "numpy", "torch")


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """What `herding_process` prints of a job.

    Raises:
      CalledProcessError: it fails.
    """
    process = ["-m", "experiments.herding_process", f"--job={json.dumps(job)}"]
    command = [sys.executable, *process]
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=env
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def contestants(flags: FlagValues) -> dict[str, dict[str, Any]]:
    """By the name in the row, what each contestant's job has besides the points."""
    jobs: dict[str, dict[str, Any]] = {
        name: {"name": name, "max_rows": herding.MAX_ROWS} for name in flags.contestants
    }
    for count in flags.drawn:
        if not count.isdecimal() or int(count) < flags.budget:
            raise errors.InputError(
                f"--drawn={count} must be integers of at least --budget."
            )
        jobs[f"ours among {count} drawn"] = {"name": "ours", "max_rows": int(count)}
    return jobs


def row(flags: FlagValues) -> dict[str, Any]:
    """Measures all contestants on one set of points."""
    features = pathlib.Path(flags.features).resolve() if flags.features else None
    points = selection_data.load(flags.data, flags.rows or None, flags.width, features)
    at = np.linspace(0, len(points) - 1, bandwidth.SAMPLE).astype(int)
    job = {
        "data": flags.data,
        "rows": len(points),
        "width": points.shape[1],
        "budget": flags.budget,
        "features": features and str(features),
        "scale": bandwidth.median_distance(points[at]),
    }
    del points
    found: dict[str, list[dict[str, Any]]] = {}
    jobs = contestants(flags)
    with selection_row.bound(flags.cores):
        for _ in range(flags.rounds):
            for name, more in jobs.items():
                found.setdefault(name, []).append(measure({**job, **more}))
    reference = found["ours"][0]["picks"]
    entries = {
        name: {
            "seconds": [round(result["seconds"], 3) for result in results],
            "peak": max(result["peak"] for result in results),
            "coverage": results[0]["coverage"],
            "equal": float(np.mean(np.equal(results[0]["picks"], reference))),
        }
        for name, results in found.items()
    }
    del job["features"]
    return {
        **job,
        "cores": flags.cores,
        "contestants": entries,
        **machine.described(),
        "code": fingerprints.of_timed("herding"),
        "commit": machine.commit(),
        "command": " ".join(["python -m experiments.bench_herding", *_given(flags)]),
    }


def _given(flags: FlagValues) -> list[str]:
    names = ("data", "rows", "width", "budget", "contestants", "drawn", "cores")
    values = {name: flags[name].value for name in (*names, "rounds")}
    return [
        f"--{name}={','.join(value) if isinstance(value, list) else value}"
        for name, value in values.items()
        if value != flags[name].default
    ]


def shown(measured: dict[str, Any]) -> str:
    """A line for each contestant of a row."""
    ours = statistics.median(measured["contestants"]["ours"]["seconds"])
    lines = ["{data} {rows} x {width}, {budget} picks:".format(**measured)]
    for name, entry in measured["contestants"].items():
        seconds = statistics.median(entry["seconds"])
        lines.append(
            f"  {name}: {seconds:.1f} s, {seconds / ours:.2f} times ours; "
            f"{entry['peak'] / 1e6:.0f} MB; coverage {entry['coverage']:.5f}; "
            f"{entry['equal']:.0%} of the picks"
        )
    return "\n".join(lines)


@commands.command(
    __doc__,
    commands.text("data", "mixture", f"{', '.join(selection_data.DRAWN)}; or a name."),
    commands.text("features", "", "A .npy, an .npz or a folder of them, for a name."),
    commands.integer("rows", 0, "Points; 0: 60000, or all of the file.", least=0),
    commands.integer("width", 512, "Dimensions; a file has its own."),
    commands.integer("budget", 100, "Number of picks."),
    commands.words("contestants", NAMES, "Contestants; ours always takes part."),
    commands.words("drawn", [], "Numbers of rows that are drawn in place of all."),
    commands.integer("rounds", 1, "Processes of each contestant, started in turn."),
    commands.integer("cores", 2, "CPU cores to which all processes are bound."),
    commands.text("output", str(runs.RESULTS / "herding.json"), "JSON lines."),
    runs.COMMIT,
)
def main(flags: FlagValues) -> None:
    """Measures a row and appends it to the file."""
    for name in flags.contestants:
        errors.check_choice("--contestants", name, NAMES)
    if "ours" not in flags.contestants:
        raise errors.InputError("--contestants must name ours.")
    contestants(flags)
    output = pathlib.Path(flags.output)
    published.check_writable(output, flags, flag="output")
    rows = runs.read(output)
    measured = row(flags)
    runs.write(output, [*rows, measured])
    print(shown(measured))


if __name__ == "__main__":
    main(sys.argv)
