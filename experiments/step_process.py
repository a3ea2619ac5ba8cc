"""One process of `bench_step`: times a method on a network, alternately with PyTorch.

Makes: a JSON object, in the last line of the output.
Data:  none; images are random numbers.
Time:  that of the job.

    python -m experiments.step_process --job='{"method": "mme", "backbone": "lenet",
        "side": 16, "channels": 1, "batch": 2, "precision": "float32", "torch": false,
        "chunk": 1, "repeats": 1, "seconds": 0.1}'
"""

import json
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
from absl.flags import FlagValues

from experiments import commands, peaks, step_case, step_ours
from experiments.step_case import Case


def measure(job: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row that are measured.

    Args:
      job: the fields of a Case; "torch", whether PyTorch takes part; "chunk",
        iterations between two looks at the losses; "repeats", windows of each; and
        "seconds" of a window, at least.
    """
    case = Case(*(job[name] for name in Case._fields))
    device = jax.local_devices()[0]
    began = time.perf_counter()
    ours = step_ours.Ours(case, job["chunk"])
    first = ours.train(job["chunk"])
    row: dict[str, Any] = {
        "device": device.device_kind,
        "backend": device.platform,
        "images": sum(case.sizes),
        "start_seconds": time.perf_counter() - began - 2 * job["chunk"] * first.seconds,
    }
    peer = _torch(case, device.platform) if job["torch"] else None
    windows, theirs = [], []
    if peer is not None:
        began = time.perf_counter()
        peer.train(3)  # compiles, and tries which convolutions are fast
        row["torch_start_seconds"] = time.perf_counter() - began
        of_torch = peer.train(3)
    for _ in range(job["repeats"]):
        windows.append(ours.train(_length(job, first.seconds)))
        if peer is not None:
            theirs.append(peer.train(_length(job, of_torch)))
    seconds = statistics.median(window.seconds for window in windows)
    flops = step_ours.flops(case)
    peak = peaks.of(device.device_kind, case.precision)
    row |= {
        "seconds": seconds,
        "images_per_second": sum(case.sizes) / seconds,
        "input_wait_share": statistics.median(window.waiting for window in windows),
        "flops": flops,
        "peak_flops": peak,
        "utilization": None if not (flops and peak) else flops / seconds / peak,
        "peak_bytes": step_ours.peak_memory(),
    }
    if peer is not None:
        row["torch_seconds"] = statistics.median(theirs)
        row["torch_images_per_second"] = sum(case.sizes) / row["torch_seconds"]
        row["torch_peak_bytes"] = peer.peak_memory()
        row["torch_to_ours"] = row["torch_seconds"] / seconds
    return row


def _length(job: Mapping[str, Any], seconds: float) -> int:
    """Iterations of a window, in whole chunks."""
    chunks = max(1, round(job["seconds"] / max(seconds, 1e-9) / job["chunk"]))
    return chunks * job["chunk"]


def _torch(case: Case, platform: str) -> Any:
    """PyTorch's training of the case; None if there is none for the method."""
    if case.method not in step_case.IN_TORCH:
        return None
    from experiments import step_torch

    return step_torch.Torch(case, gpu=platform == "gpu")


@commands.command(__doc__, commands.text("job", None, "What to do, as JSON."))
def main(flags: FlagValues) -> None:
    """Prints what was measured."""
    print(json.dumps(measure(json.loads(flags.job))))


if __name__ == "__main__":
    main(sys.argv)
