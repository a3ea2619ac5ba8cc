"""One process of `bench_input`: times how a version of dact_jax reads image files.

It imports nothing but dact_jax, of the version that PYTHONPATH names.
"""

import inspect
import json
import pathlib
import sys
import time

import numpy as np

from dact_jax.data import fingerprint
from dact_jax.data.readers import sources


def main() -> None:
    """Prints the seconds of a start, of an epoch in random batches, and of a sweep."""
    job = json.loads(sys.argv[1])
    options = {}
    if job["cache"] and "cache" in inspect.signature(sources.load).parameters:
        from dact_jax.data.cache.room import Cache

        options["cache"] = Cache(pathlib.Path(job["cache"]))
    began = time.perf_counter()
    data = sources.load(job["folder"], size=job["size"], channels=3, **options)
    fingerprint.of(data)
    seconds = {"start": time.perf_counter() - began}
    rows = np.arange(len(data.label))
    orders = {"epoch": np.random.default_rng(0).permutation(rows), "sweep": rows}
    digests = 0
    for name, order in orders.items():
        began = time.perf_counter()
        for begin in range(0, len(order), job["batch"]):
            digests += int(data.image[order[begin : begin + job["batch"]]].sum())
        seconds[name] = time.perf_counter() - began
    print(json.dumps({**seconds, "images": len(rows), "pixels": digests}))
