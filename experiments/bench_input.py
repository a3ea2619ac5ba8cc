"""Reading images: decoding, kept pixels and the training step, and 10 million records.

Makes: experiments/results/input.json, one row for each --what.
Data:  none: JPEG files are made; or --images, a folder with two domains.
Time:  --what=reading 3 min, step 2 min, records 3 min, on 2 CPU cores.

    python -m experiments.bench_input --what=reading --before=../earlier
    python -m experiments.bench_input --what=step
    python -m experiments.bench_input --what=records

reading: images a second that a start, an epoch in random batches and a sweep read, each
  in a process of its own: the first start with kept images and the second one, in turn
  with --before, the folder of an earlier version.
step: images a second that training does, and the share of its time in which it waits
  for images, with images decoded at each use and with kept ones.
records: peak memory of draws and a sweep of pools of 1 and 10 million records.
"""

import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl.flags import FlagValues
from PIL import Image

from dact_jax import errors
from dact_jax.types import Row
from experiments import commands, fingerprints, input_step, machine, published, runs

DOMAINS = ("studio", "phone")
COUNT = 800  # files of each domain that is made
PROCESS = "import input_process; input_process.main()"
RECORDS = (10**6, 10**7)


def make_photos(root: pathlib.Path, count: int) -> None:
    """JPEG files of 500 x 375 pixels, smooth with some noise as photos are."""
    rng = np.random.default_rng(0)
    for domain in DOMAINS:
        for name in ("cat", "dog"):
            folder = root / domain / name
            folder.mkdir(parents=True)
            for number in range(count // 2):
                coarse = rng.integers(0, 255, (12, 16, 3)).astype(np.uint8)
                smooth = Image.fromarray(coarse).resize((500, 375), Image.BICUBIC)
                noise = rng.normal(0, 6, (375, 500, 3))
                pixels = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=90)


@contextlib.contextmanager
def photos(flags: FlagValues) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """Folders of the source and the target."""
    if flags.images:
        folders = sorted(path for path in pathlib.Path(flags.images).iterdir())
        yield folders[0], folders[1]
        return
    with tempfile.TemporaryDirectory() as root:
        make_photos(pathlib.Path(root), flags.count)
        first, second = (pathlib.Path(root, name) for name in DOMAINS)
        yield first, second


def reading(flags: FlagValues) -> Row:
    """Medians of images a second, by version and by what is done."""
    with photos(flags) as (folder, _), tempfile.TemporaryDirectory() as root:
        cache = pathlib.Path(root, "cache")
        here = str(pathlib.Path(__file__).parents[1])
        jobs: dict[str, Callable[[], Row]] = {}
        if flags.before:
            jobs["before"] = lambda: _process(flags, folder, "", flags.before)
        jobs["not kept"] = lambda: _process(flags, folder, "", here)
        jobs["first start"] = lambda: _first(flags, folder, cache, here)
        jobs["second start"] = lambda: _process(flags, folder, str(cache), here)
        rates: dict[str, dict[str, list[float]]] = {name: {} for name in jobs}
        pixels = set()
        for _ in range(flags.repeats):
            for name, job in jobs.items():
                row = job()
                pixels.add(row["pixels"])
                for what in ("start", "epoch", "sweep"):
                    rates[name].setdefault(what, []).append(row["images"] / row[what])
    if len(pixels) != 1:
        raise errors.InputError("the versions do not read the same pixels.")
    return {
        "images": row["images"],
        "size": flags.size,
        "rates": {
            name: {
                what: round(statistics.median(found), 1) for what, found in of.items()
            }
            for name, of in rates.items()
        },
    }


def _first(
    flags: FlagValues, folder: pathlib.Path, cache: pathlib.Path, version: str
) -> Row:
    shutil.rmtree(cache, ignore_errors=True)
    return _process(flags, folder, str(cache), version)


def _process(flags: FlagValues, folder: pathlib.Path, cache: str, version: str) -> Row:
    """The seconds of one process with the code of a version."""
    job = {
        "folder": str(folder),
        "size": flags.size,
        "batch": flags.batch,
        "cache": cache,
    }
    code = [str(pathlib.Path(version).resolve()), str(pathlib.Path(__file__).parent)]
    found = subprocess.run(
        [sys.executable, "-c", PROCESS, json.dumps(job)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(code)},
        capture_output=True,
        text=True,
    )
    if found.returncode:
        raise errors.InputError(f"{version}: {found.stderr[-500:]}")
    row: Row = json.loads(found.stdout)
    return row


def step(flags: FlagValues) -> Row:
    """What training does with decoded and with kept images, in turn; medians."""
    with photos(flags) as folders, tempfile.TemporaryDirectory() as root:
        trainings = {
            name: input_step.prepare(
                *map(str, folders),
                cache=cache,
                encoder=flags.encoder,
                size=flags.size,
                batch=flags.batch,
                steps=flags.steps,
            )
            for name, cache in (("decoded", "none"), ("kept", f"{root}/cache"))
        }
        found: dict[str, list[Row]] = {name: [] for name in trainings}
        for _ in range(flags.repeats):
            for name, training in trainings.items():
                found[name].append(input_step.timed(training))
    medians = {
        name: {
            what: round(statistics.median(row[what] for row in rows), 4)
            for what in rows[0]
        }
        for name, rows in found.items()
    }
    return {
        "encoder": flags.encoder,
        "size": flags.size,
        "images_a_step": 4 * flags.batch,
        **medians,
    }


def records(flags: FlagValues) -> Row:
    """Peak memory by records, and what one more takes."""
    code = (
        "import sys, json, pathlib; from experiments import input_memory; "
        "from dact_jax.data.cache.form import Form; "
        "folder, count, size = sys.argv[1:]; form = Form(int(size), 1); "
        "row = input_memory.measure(pathlib.Path(folder), int(count), form); "
        "print(json.dumps(row))"
    )
    found = []
    for count in RECORDS:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-c", code, folder, str(count), str(flags.size)],
                capture_output=True,
                text=True,
                check=True,
            )
            found.append(json.loads(done.stdout))
    few, many = found
    more = (many["peak"] - few["peak"]) / (many["records"] - few["records"])
    return {
        "pools": found,
        "bytes_of_a_record": round(more, 1),
        "pixels_of_a_record": flags.size**2,
    }


WHAT: dict[str, Callable[[FlagValues], Row]] = {
    "reading": reading,
    "step": step,
    "records": records,
}


@commands.command(
    __doc__,
    commands.choice("what", "reading", tuple(WHAT), "What is measured."),
    commands.text("images", "", "Folder with two domains; empty: files are made."),
    commands.integer("count", COUNT, "Files of a domain, where they are made."),
    commands.text("before", "", "Folder of an earlier version, for reading."),
    commands.integer("size", 224, "Pixels of a side of the stored images."),
    commands.text("encoder", "resnet18", "Network, for step."),
    commands.integer("batch", 128, "Images read at once; of a step's source."),
    commands.integer("steps", 12, "Iterations that are timed, for step.", least=2),
    commands.integer("repeats", 3, "Timings of each kind."),
    commands.text("results", str(runs.RESULTS / "input.json"), "Rows as JSON lines."),
    runs.COMMIT,
)
def main(flags: FlagValues) -> None:
    """Measures one thing, prints its row and adds it to the file."""
    path = pathlib.Path(flags.results)
    published.check_writable(path, flags)
    began = time.perf_counter()
    found: dict[str, Any] = {"what": flags.what, **WHAT[flags.what](flags)}
    command = " ".join(["python -m experiments.bench_input", *_given(flags)])
    row = {
        **found,
        **machine.described(),
        "code": fingerprints.of_timed("input"),
        "commit": machine.commit(),
        "command": command,
    }
    print(json.dumps(row, indent=1))
    runs.write(path, [*runs.read(path), row])
    print(f"Written: {path}, after {time.perf_counter() - began:.0f} s.")


def _given(flags: FlagValues) -> list[str]:
    """The flags that change what is measured, without paths of a machine."""
    shown = []
    for name in ("what", "size", "encoder", "batch", "steps", "repeats", "count"):
        if flags[name].value != flags[name].default or name == "what":
            shown.append(f"--{name}={flags[name].value}")
    if flags.images:
        shown.append(f"--images={pathlib.Path(flags.images).name}")
    return [*shown, *["--before=FOLDER"] * bool(flags.before)]


if __name__ == "__main__":
    main(sys.argv)
