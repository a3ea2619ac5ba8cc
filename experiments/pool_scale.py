"""Memory and time of a run by the number of images in its pool, and a model of both.

Makes: one JSON file: a row for each measured pool, the coefficients that fit them, and
       what they give for pools of 10^6, 10^8 and 10^9 images.
Data:  vectors that it makes.
Time:  3 min on 2 CPU cores.

    python -m experiments.pool_scale --results=runs/pool_scale.json

Each pool is one process: a run of one purchase on a pool of vectors that stays in the
memory of the host. Its peak memory is what the operating system says, and is fitted by

    bytes = start + images * (image + name * N + input * F + embedding * E)

for ids of N characters, vectors of F numbers and embeddings of E numbers.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl.flags import FlagValues

from dact_jax import errors
from experiments import (
    commands,
    fingerprints,
    machine,
    pool_scale_process,
    published,
    runs,
)

Row = dict[str, Any]
SIZES = (100_000, 1_000_000, 3_000_000)
SMALL = {"name": 8, "input": 8, "embedding": 8}
# (images, what is larger than in SMALL)
POOLS: tuple[tuple[int, dict[str, int]], ...] = (
    *((size, {}) for size in SIZES),
    (1_000_000, {"name": 40}),
    (1_000_000, {"input": 64}),
    (1_000_000, {"embedding": 64}),
)
TERMS = ("image", *SMALL)
STAGES = ("read", "whole")
SECONDS = ("scoring", "selecting")
TYPICAL = {"name": 32, "input": 0, "embedding": 512}  # photos: read from the disk
EXTRAPOLATED = (10**6, 10**8, 10**9)


def measure(images: int, widths: Mapping[str, int]) -> Row:
    """One pool in a process of its own.

    Raises:
      InputError: the process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = {"images": images, **widths, "folder": folder}
        pool_scale_process.write(pathlib.Path(folder), job)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "experiments.pool_scale_process"),
                f"--job={json.dumps(job)}",
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1]
        raise errors.InputError(f"a pool of {images} images: {last}")
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return {"images": images, **widths, **found}


def fitted(rows: Sequence[Row], peak: str) -> dict[str, float]:
    """The coefficients of peak memory in bytes: "start", and TERMS for an image."""
    design = [
        [1.0, row["images"], *(row["images"] * row[name] for name in SMALL)]
        for row in rows
    ]
    # Relative errors count alike: each row is divided by what was measured.
    measured = np.array([row[peak] for row in rows], float)
    scaled = np.array(design) / measured[:, None]
    solution, *_ = np.linalg.lstsq(scaled, np.ones(len(rows)), rcond=None)
    return dict(zip(("start", *TERMS), solution.tolist(), strict=True))


def predicted(
    model: Mapping[str, float], images: int, widths: Mapping[str, int]
) -> float:
    """Bytes that the model gives for a pool."""
    each = model["image"] + sum(model[name] * widths[name] for name in SMALL)
    return model["start"] + images * each


def slopes(rows: Sequence[Row]) -> dict[str, float]:
    """Microseconds of an image, by kind of work, between the pools of SMALL."""
    own = [row for row in rows if all(row[k] == v for k, v in SMALL.items())]
    first, last = own[0], own[-1]
    more = last["images"] - first["images"]
    return {
        name: round(1e6 * (last[name] - first[name]) / more, 3)
        for name in ("reading", *SECONDS)
    }


def summary(rows: Sequence[Row]) -> Row:
    """The models, how well they fit, and what they give for large pools."""
    models = {stage: fitted(rows, f"peak_{stage}") for stage in STAGES}
    errors_ = [
        abs(predicted(models["whole"], row["images"], row) / row["peak_whole"] - 1)
        for row in rows
    ]
    return {
        "bytes": {
            stage: {name: round(value, 1) for name, value in model.items()}
            for stage, model in models.items()
        },
        "largest_relative_error": round(max(errors_), 3),
        "microseconds_of_an_image": slopes(rows),
        "typical": TYPICAL,
        "gigabytes": {
            str(images): round(predicted(models["whole"], images, TYPICAL) / 1e9, 1)
            for images in EXTRAPOLATED
        },
    }


@commands.command(
    __doc__,
    commands.integer("shrink", 1, "Divides all pools, for a quick try."),
    commands.text("results", str(runs.RESULTS / "pool_scale.json"), "File to write."),
    runs.COMMIT,
)
def main(flags: FlagValues) -> None:
    """Measures all pools, fits the models and writes the file."""
    path = pathlib.Path(flags.results)
    published.check_writable(path, flags)
    began = time.perf_counter()
    rows = []
    for images, larger in POOLS:
        rows.append(measure(images // flags.shrink, {**SMALL, **larger}))
        print(json.dumps(rows[-1]), flush=True)
    found = {
        "command": "python -m experiments.pool_scale",
        "commit": machine.commit(),
        **machine.described(),
        "code": fingerprints.of_timed("pool_scale"),
        "pools": rows,
        **summary(rows),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in found.items() if k != "pools"}, indent=1))
    print(f"Written: {path}, after {time.perf_counter() - began:.0f} s.")


if __name__ == "__main__":
    main(sys.argv)
