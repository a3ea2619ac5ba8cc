"""How long greedy k-center takes: ours beside NumPy, JAX, PyTorch, scikit-activeml.

    python -m experiments.bench_selection --data=mixture --rows=60000 --width=512 \
        --budget=1000 --cores=1
    python -m experiments.bench_selection --data=pacs --features=data/pacs_features
    python -m experiments.bench_selection --table

Lists, such as --rows=10000,60000, make a grid. A cell is one row of the JSON lines; one
that is there already is not repeated (contestants that it lacks run beside ours again).
Each contestant runs in a process of its own: a first call, which compiles, then the
warm ones that count. A run begins with an array on the host and ends with picks there.
Contestants that would take longer than --limit seconds, or more memory than there is,
are timed for few picks and extrapolated on a line: they are marked `~`.

Ends with 1 where somebody failed or left another cover radius than ours. --table only
writes the page of the rows there are.
"""

import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments import selection_data, selection_process, selection_table

RESULTS = pathlib.Path(__file__).parent / "results"
NAMES = ("ours", "numpy", "jax", "torch", "skactiveml")
PACKAGES = ("numpy", "jax", "torch", "scikit-activeml")
CELL = ("data", "rows", "width", "budget", "cores", "platform", "cpu")
SHORT = (20, 60)  # picks timed of those that would take too long
TOLERANCE = 1e-4  # of the cover radius
COPIES = 3  # arrays as large as the points that must fit in memory

Row = dict[str, Any]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])

    def several(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    def names(text: str) -> list[str]:
        return text.split(",")

    add = parser.add_argument
    add("--data", type=names, default=["mixture"], help="; ".join(selection_data.DRAWN))
    add("--features", type=pathlib.Path, help=".npy, .npz or folder of other data.")
    add("--rows", type=several, default=[None], help="N (60000; all of a file).")
    add("--width", type=several, default=[512], help="F; a file has its own.")
    add("--budget", type=several, default=[1000], help="Picks.")
    add("--contestants", type=names, default=list(NAMES), help="Besides ours.")
    add("--repeats", type=int, default=5, help="Warm runs of a process.")
    add("--rounds", type=int, default=1, help="Processes a contestant, in turn.")
    add("--cores", type=int, default=1, help="All processes are bound to them.")
    add("--platform", choices=("cpu", "gpu"), default="cpu", help="Of ours, jax, torch")
    add("--limit", type=float, default=300.0, help="Seconds of a run.")
    add("--output", type=pathlib.Path, default=RESULTS / "selection.json")
    add("--table", action="store_true", help="Only write the page.")
    args = parser.parse_args(argv)
    unknown = set(args.contestants) - set(NAMES)
    if unknown:
        parser.error(f"--contestants are {', '.join(NAMES)}, not {sorted(unknown)}.")
    return args


def installed(names: Iterable[str]) -> list[str]:
    """Those that can run, ours first."""
    wanted = [name for name in names if name != "ours"]
    found = [name for name in wanted if importlib.util.find_spec(name)]
    for name in wanted:
        if name not in found:
            print(f"{name} is not installed: left out.", file=sys.stderr)
    return ["ours", *found]


def machine() -> Row:
    """The processor and the versions, without any date."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    cpu = models[0] if models else platform.processor()
    return {"cpu": cpu, "cpu_cores": os.cpu_count(), "versions": versions}


def physical_memory() -> int:
    """Bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def bind(cores: int) -> None:
    """Binds this process, and those that it starts, to the last so many cores."""
    if hasattr(os, "sched_setaffinity"):
        usable = sorted(os.sched_getaffinity(0))
        if cores > len(usable):
            raise SystemExit(f"--cores={cores}, but there are {len(usable)}.")
        os.sched_setaffinity(0, usable[-cores:])


def call(job: Row, cores: int) -> Row:
    """What another process prints; {"failed": why} if it does not end well."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    env = {**os.environ, **{name: str(cores) for name in threads}}
    env["JAX_PLATFORMS"] = "cpu" if job["platform"] == "cpu" else "cuda,cpu"
    if job["platform"] == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""  # for torch
    command = [sys.executable, "-m", "experiments.selection_process", json.dumps(job)]
    root = pathlib.Path(__file__).parents[1]
    done = subprocess.run(
        command, env=env, cwd=root, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        return {"failed": f"exit {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def short(name: str, job: Row, limit: float) -> bool:
    """Whether so many picks are out of reach: by a short run, or for memory."""
    if name == "ours" or job["budget"] <= SHORT[1]:
        return False
    if name == "skactiveml" and 8 * job["rows"] * job["budget"] > physical_memory() / 4:
        return True  # it returns float64[budget, N]
    found = call({**job, "short": SHORT, "repeats": 1}, job["cores"])
    return "failed" not in found and found["warm_s"][0] > limit


def measure(job: Row, names: Sequence[str], rounds: int) -> dict[str, list[Row]]:
    """What each contestant's processes say, started in turn.

    Args:
      job: the cell and the flags.
      names: contestants, ours first.
      rounds: processes of each.
    """
    said: dict[str, list[Row]] = {name: [] for name in names}
    shortened: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as folder:
        base = {**job, "what": "contestant", "reference": None, "radius": None}
        for _, name in itertools.product(range(rounds), names):
            mine = {**base, "contestant": name, "short": None}
            mine["picks"] = f"{folder}/{name}.npy"
            if name != "ours" and "radius" in said["ours"][0]:
                mine["reference"] = f"{folder}/ours.npy"
                mine["radius"] = said["ours"][0]["radius"]
            if name not in shortened:
                shortened[name] = short(name, mine, job["limit"])
            mine["short"] = SHORT if shortened[name] else None
            said[name].append(call(mine, job["cores"]))
            print(name, said[name][-1], file=sys.stderr, flush=True)
    return said


def summary(said: Sequence[Row], ours: float | None) -> Row:
    """One contestant's processes as one entry of a row.

    Args:
      said: what each process printed.
      ours: our median; None for ourselves.
    """
    failed = [one for one in said if "failed" in one]
    if failed:
        return failed[0]
    warm = [value for one in said for value in one["warm_s"]]
    seconds = selection_process.median(warm)
    gap = max(one["gap"] for one in said)
    return {
        "seconds": seconds,
        "ratio": None if ours is None else seconds / ours,
        "estimated": said[0]["estimated"],
        "first_s": selection_process.median([one["first_s"] for one in said]),
        "warm_s": warm,
        "memory_mb": max(one["memory_mb"] for one in said),
        "memory_before_mb": max(one["memory_before_mb"] for one in said),
        "picks": said[0]["picks"],
        "equal": min(one["equal"] for one in said),
        "radius": said[0]["radius"],
        "gap": gap,
        "agrees": gap <= TOLERANCE,
    }


def run_cell(job: Row, names: Sequence[str], rounds: int) -> Row:
    """One row: every contestant on one set of points, and the machine's limits.

    Args:
      job: the cell and the flags.
      names: contestants, ours first.
      rounds: processes of each.
    """
    limits = call({"what": "hardware", "platform": job["platform"]}, job["cores"])
    if "failed" in limits:
        raise SystemExit(f"The machine cannot be measured: {limits['failed']}.")
    said = measure(job, names, rounds)
    entries = {"ours": summary(said["ours"], None)}
    ours = entries["ours"].get("seconds")
    for name in names[1:]:
        entries[name] = summary(said[name], ours)
    pairs = job["rows"] * job["width"] * job["budget"]
    floor = 4 * pairs / limits["bytes_per_s"]
    return {
        **{key: job[key] for key in (*CELL, "cpu_cores", "repeats", "versions")},
        "rounds": rounds,
        **limits,
        "floor_s": floor,
        "floor_to_ours": ours and floor / ours,
        "peak_share": ours and 2 * pairs / (ours * limits["flop_per_s"]),
        "contestants": entries,
    }


def cells(args: argparse.Namespace) -> Iterable[Row]:
    """The jobs of the grid; those that make no sense or do not fit are left out."""
    grid = itertools.product(args.data, args.width, args.rows, args.budget)
    settings = {key: getattr(args, key) for key in ("cores", "platform", "repeats")}
    here, seen = machine(), set()
    for data, width, rows, budget in grid:
        rows, width = selection_data.shape(data, rows, width, args.features)
        where = f"{data} {rows} x {width}, budget {budget}"
        if (data, rows, width, budget) in seen:
            continue
        seen.add((data, rows, width, budget))
        if budget >= rows:
            print(f"{where}: left out, no points remain.", file=sys.stderr)
            continue
        if COPIES * 4 * rows * width > 0.9 * physical_memory():
            print(f"{where}: left out, too large for memory.", file=sys.stderr)
            continue
        features = args.features and str(args.features.resolve())
        cell = {"data": data, "rows": rows, "width": width, "budget": budget}
        yield {**cell, **settings, **here, "limit": args.limit, "features": features}


def missing(rows: Sequence[Row], job: Mapping[str, Any], names: Sequence[str]) -> list:
    """The contestants that no row of this cell has.

    Args:
      rows: there are.
      job: the cell.
      names: contestants wanted.
    """
    same = [row for row in rows if all(row[key] == job[key] for key in CELL)]
    done = {name for row in same for name in row["contestants"]}
    return [name for name in names if name not in done]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs what is missing of the grid, or writes the page."""
    args = parse(argv)
    rows = selection_table.read(args.output)
    wrong = 0
    if not args.table:
        bind(args.cores)
        names = installed(args.contestants)
        for job in cells(args):
            absent = missing(rows, job, names)
            if not absent:
                continue
            absent = [name for name in absent if name != "ours"]
            row = run_cell(job, ["ours", *absent], args.rounds)
            rows.append(row)
            args.output.parent.mkdir(parents=True, exist_ok=True)
            with args.output.open("a") as file:
                file.write(json.dumps(row) + "\n")
            entries = row["contestants"].values()
            wrong += sum(not entry.get("agrees", False) for entry in entries)
            print(selection_table.seconds([row]), flush=True)
    else:
        selection_table.write(args.output, rows)
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
