"""Accuracies of runs that train in bfloat16 beside those in float32, over seeds.

Makes: experiments/results/precision.json, a row for each precision and seed.
Data:  none; printed and handwritten digits come with packages.
Time:  15 min of processor time on 2 CPU cores.

    python -m experiments.precision --seeds=5

A row that is in the file stays. The page says what the differences are: the mean and
the largest one of a round, over the seeds that have both precisions.
"""

import pathlib
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl.flags import FlagValues

import dact_jax
from dact_jax.types import Row
from experiments import commands, fingerprints, machine, published, runs

MODULE = "experiments.precision"
PRECISIONS = ("float32", "bfloat16")


def measure(spec: str, seed: int, precision: str, steps: int) -> Row:
    """The row of one run, which leaves nothing behind."""
    changes: dict[str, Any] = {"seed": seed, "figures": False}
    changes |= {"train.precision": precision}
    changes |= runs.shorten({}, steps)
    with tempfile.TemporaryDirectory() as folder:
        config = dact_jax.config(spec, **changes)
        done = dact_jax.run(config, pathlib.Path(folder) / "run", progress=False)
    return {
        "config": spec,
        "seed": seed,
        "precision": precision,
        "test_accuracy": done.accuracies,
        "losses": [row["loss"] for row in done.rows if row["event"] == "train"],
        **({"settings": {"steps": steps}} if steps else {}),
        **machine.described(),
        "device": jax.devices()[0].device_kind,
        "commit": machine.commit(),
        "command": "python -m experiments.precision",
        "code": fingerprints.of_run(config, spec, MODULE),
    }


def differences(rows: Sequence[Row]) -> np.ndarray:
    """bfloat16 - float32, in percentage points: [seeds, rounds]."""
    by_seed = {
        (row["seed"], row["precision"]): np.array(row["test_accuracy"]) for row in rows
    }
    seeds = sorted({seed for seed, _ in by_seed})
    pairs = [[by_seed.get((seed, name)) for name in PRECISIONS] for seed in seeds]
    return np.array(
        [
            100 * (other - exact)
            for exact, other in pairs
            if exact is not None and other is not None
        ]
    )


@commands.command(
    __doc__,
    commands.text("config", "tiny", "Config of the runs, with or without a preset."),
    commands.integer("seeds", 5, "Runs of each precision."),
    commands.integer("steps", 0, "Iterations of a round; 0: as the config.", least=0),
    commands.text("output", str(runs.RESULTS / "precision.json"), "JSON lines."),
    runs.COMMIT,
)
def main(flags: FlagValues) -> None:
    """Does the runs that are missing, and prints the differences."""
    output = pathlib.Path(flags.output)
    rows = published.rows(output, flags)
    known = {(row["seed"], row["precision"]) for row in rows}
    for seed in range(flags.seeds):
        for precision in PRECISIONS:
            if (seed, precision) in known:
                continue
            published.check_writable(output, flags, flag="output")
            rows.append(measure(flags.config, seed, precision, flags.steps))
            runs.write(output, rows)
            last = 100 * rows[-1]["test_accuracy"][-1]
            print(f"seed {seed}, {precision}: {last:.1f} %", flush=True)
    found = differences(rows)
    if found.size:
        print(
            f"bfloat16 - float32, {len(found)} seeds, points of accuracy by round: "
            f"mean {' '.join(f'{value:+.1f}' for value in found.mean(0))}, largest "
            f"{np.abs(found).max():.1f}; last round mean {found[:, -1].mean():+.1f} "
            f"± {found[:, -1].std():.1f}."
        )


if __name__ == "__main__":
    main(sys.argv)
