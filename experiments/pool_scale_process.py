"""One process of `pool_scale`: a run on a pool of vectors, and its peak memory.

Makes: the row as JSON, printed.
Data:  written by `pool_scale`.
Time:  20 s for 3 000 000 vectors.

    python -m experiments.pool_scale_process --job=JSON
"""

import json
import pathlib
import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl.flags import FlagValues

import dact_jax
from dact_jax.run_types import Stop
from experiments import commands

_CLASSES = 4
_SOURCE = 1000  # images
_KILOBYTE = 1024  # the unit of ru_maxrss on Linux


def write(folder: pathlib.Path, job: Mapping[str, Any]) -> None:
    """Writes the vectors of both domains.

    Args:
      job: "images" of the target, and the numbers of characters of an id, "name", and
        of numbers of a vector, "input".
    """
    random = np.random.default_rng(0)
    for name, count in (("source", _SOURCE), ("target", job["images"])):
        features = random.standard_normal((count, job["input"]), np.float32)
        label = np.arange(count, dtype=np.int32) % _CLASSES
        features[:, 0] += 3 * label
        width = job["name"]
        ids = np.char.zfill(np.arange(count).astype(f"U{width}"), width)
        np.savez(folder / f"{name}.npz", features=features, label=label, path=ids)


def run(job: Mapping[str, Any]) -> dict[str, Any]:
    """Peak memory in bytes when the data are read and at the end, and seconds."""
    folder = pathlib.Path(job["folder"])
    config = dact_jax.config(
        "embeddings:preset=s_act",
        **{
            "source": str(folder / "source.npz"),
            "target": str(folder / "target.npz"),
            "model.widths": (job["embedding"],),
            "policies.single.initial": 100,
            "policies.single.per_round": 100,
            "policies.single.purchases": 1,
            "data.device_bytes": 0,
            "train.steps": 4,
            "train.chunk": 2,
            "train.save_every": 4,
            "train.eval_batch": 4096,
            "figures": False,
        },
    )
    began = time.perf_counter()
    read: list[tuple[float, int]] = []  # at the end of each call of the device

    def asked() -> bool:
        read.append((time.perf_counter() - began, _peak()))
        return False

    done = dact_jax.run(config, folder / "run", stop=Stop(asked))
    (select,) = [row for row in done.rows if row["event"] == "select"]
    return {
        "peak_read": read[0][1],
        "peak_whole": _peak(),
        "reading": round(read[0][0], 3),  # with the first compilation
        "whole": round(time.perf_counter() - began, 3),
        "scoring": round(select["seconds_scoring"], 3),
        "selecting": round(select["seconds_selecting"], 3),
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTE


@commands.command(__doc__, commands.text("job", None, "A JSON object."))
def main(flags: FlagValues) -> None:
    """Does the run and prints the row."""
    print(json.dumps(run(json.loads(flags.job))))


if __name__ == "__main__":
    main(sys.argv)
