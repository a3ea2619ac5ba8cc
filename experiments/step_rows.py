"""The rows of `bench_step`: one process for each, and a line for a person."""

import importlib.util
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from absl.flags import FlagValues

from dact_jax import errors, plugins
from dact_jax.models import precisions
from dact_jax.types import Row
from experiments import machine, published, runs, step_case
from experiments.step_case import Case

_LAST = 3  # lines of what a process says that are kept when it fails


def measure(flags: FlagValues) -> int:
    """Measures and writes all rows; how many failed.

    Raises:
      InputError: a method, network or batch is none, or the file is published.
    """
    cases = list(_cases(flags))
    output = pathlib.Path(flags.output)
    published.check_writable(output, flags, flag="output")
    with_torch = not flags.alone and importlib.util.find_spec("torch") is not None
    if not with_torch and not flags.alone:
        print("torch is not installed: left out.", file=sys.stderr)
    rows: list[Row] = []
    about = {**machine.described(), "commit": machine.commit()}
    about["command"] = " ".join(["python -m experiments.bench_step", *sys.argv[1:]])
    for case in cases:
        job = {
            **case._asdict(),
            "torch": with_torch,
            "chunk": flags.chunk,
            "repeats": flags.repeats,
            "seconds": flags.seconds,
        }
        rows.append({**job, **about, **_measured(job, flags.limit)})
        runs.write(output, rows)
        print(line(rows[-1], case), flush=True)
    return sum("error" in row for row in rows)


def _cases(flags: FlagValues) -> Iterator[Case]:
    for name in flags.methods:
        errors.check_choice("--methods", name, plugins.names("methods"))
    for name in flags.backbones:
        errors.check_choice("--backbones", name, tuple(step_case.SIDES))
    for text in flags.batches:
        if not text.strip().isdecimal() or not int(text):
            raise errors.InputError(
                f"--batches={text} must be positive integers, such as 32,128."
            )
    precision = flags.precision
    if precision == "auto":
        precision = precisions.of_device()
    for backbone, method, batch in itertools.product(
        flags.backbones, flags.methods, map(int, flags.batches)
    ):
        side = flags.pixels or step_case.SIDES[backbone]
        yield Case(method, backbone, side, 3, batch, precision)


def _measured(job: Mapping[str, Any], limit: float) -> dict[str, Any]:
    """What a process of its own measures: so its peak of memory is that of the row."""
    # Both libraries share the device, and neither takes all of its memory at once.
    environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}
    command = [sys.executable, "-m", "experiments.step_process"]
    began = time.perf_counter()
    try:
        ended = subprocess.run(
            [*command, f"--job={json.dumps(job)}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"it took more than --limit={limit:g} seconds"}
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip().splitlines()[-_LAST:]
        return {"error": " / ".join(said) or f"exit code {ended.returncode}"}
    row: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return row | {"row_seconds": time.perf_counter() - began}


def line(row: Row, case: Case) -> str:
    """The row for a person."""
    if "error" in row:
        return f"{case.title}: failed: {row['error']}"
    found = [f"{row['images_per_second']:.0f} images/s"]
    if row["utilization"] is not None:
        found.append(f"{100 * row['utilization']:.0f} % of the peak")
    found.append(f"waits {100 * row['input_wait_share']:.1f} % for batches")
    found.append(f"starts in {row['start_seconds']:.0f} s")
    if row["peak_bytes"] is not None:
        found.append(f"{row['peak_bytes'] / 2**30:.1f} GiB")
    if "torch_to_ours" in row:
        found.append(f"{row['torch_to_ours']:.2f}x torch")
    return f"{case.title}: {', '.join(found)}"
