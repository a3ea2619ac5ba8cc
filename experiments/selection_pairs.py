"""The time of greedy k-center in two versions of the code, side by side.

Makes: experiments/results/selection_pairs.json, a row for each set of points and number
       of cores.
Data:  none for --data=mixture, noise and power, which are drawn; otherwise --features.
Time:  1 min a row.

    python -m experiments.selection_pairs --before=../before --data=mixture \\
        --rows=60000 --width=512 --budget=1000

Each version runs in processes of its own, one bound to one core and one to all, and so
does the jitted loop of `selection_contestants`. They hold the same points and are asked
in turn, so that all meet the same conditions; the first call, which compiles, is told
apart. The exit code is 1 if the versions pick differently.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
from typing import Any

from absl.flags import FlagValues

from dact_jax import errors
from dact_jax.types import Row
from experiments import commands, fingerprints, machine, published, runs

COMMAND = "python -m experiments.selection_pairs --before=FOLDER"
ROOT = pathlib.Path(__file__).parents[1]
ASKED = """
import hashlib, json, sys, time
job = json.loads(sys.argv[1])
sys.path.append(job["experiments"])
from experiments import selection_contestants, selection_data
features = job["features"]
import pathlib
points = selection_data.load(
    job["data"], job["rows"], job["width"], features and pathlib.Path(features)
)
selection_contestants.prepare(job["name"])
select = selection_contestants.CONTESTANTS[job["name"]]
print("{}", flush=True)
for _ in sys.stdin:
    started = time.perf_counter()
    picks = select(points, job["budget"])
    seconds = time.perf_counter() - started
    picks = hashlib.sha256(picks.astype("<i8").tobytes()).hexdigest()
    print(json.dumps({"seconds": seconds, "picks": picks}), flush=True)
"""


class Asked:
    """A process that holds points and selects when asked."""

    def __init__(self, job: Row, code: pathlib.Path, cores: list[int]) -> None:
        """Starts it with the package in a folder, bound to cores."""
        env = {**os.environ, "PYTHONPATH": str(code), "JAX_PLATFORMS": "cpu"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", ASKED, json.dumps(job)],
            env=env,
            cwd=code,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.answer()

    def ask(self) -> Row:
        """{"seconds", "picks"} of one selection."""
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> Row:
        """The next line of the process."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise errors.InputError("a process of --before or of this code failed.")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        self.process.communicate()


def measure(job: Row, before: pathlib.Path, repeats: int, loops: int) -> Row:
    """Seconds of both versions on one core and on all, and of the loop on one.

    Args:
      job: the points and the budget.
      before: the folder of the other version's code.
      repeats: warm calls of each.
      loops: warm calls of the loop.
    """
    usable = sorted(os.sched_getaffinity(0))
    sizes = {"1": usable[-1:], "all": usable}
    asked: dict[str, Asked] = {}
    for name, code in (("before", before), ("after", ROOT)):
        own_job = {**job, "name": "ours", "experiments": str(ROOT)}
        for size, cores in sizes.items():
            asked[f"{name}, {size}"] = Asked(own_job, code, cores)
    loop_job = {**job, "name": "jax", "experiments": str(ROOT)}
    asked["loop, 1"] = Asked(loop_job, ROOT, usable[-1:])
    answers: dict[str, list[Row]] = {name: [] for name in asked}
    for number in range(1 + repeats):
        for name, process in asked.items():
            if not name.startswith("loop") or number <= loops:
                answers[name].append(process.ask())
    for process in asked.values():
        process.close()
    picks = {a["picks"] for n, own in answers.items() if n[0] != "l" for a in own}
    return {
        **job,
        **machine.described(),
        "code": fingerprints.of_timed("selection_pairs"),
        "commits": {"before": machine.commit(before), "after": machine.commit()},
        "cores": len(usable),
        "same_picks": len(picks) == 1,
        "first_s": {name: own[0]["seconds"] for name, own in answers.items()},
        "warm_s": {
            name: statistics.median(a["seconds"] for a in own[1:])
            for name, own in answers.items()
        },
    }


def _summary(row: Row) -> dict[str, Any]:
    warm, first = row["warm_s"], row["first_s"]
    return {
        "loop / after": warm["loop, 1"] / warm["after, 1"],
        "loop / before": warm["loop, 1"] / warm["before, 1"],
        "after: 1 core / all": warm["after, 1"] / warm["after, all"],
        "before: 1 core / all": warm["before, 1"] / warm["before, all"],
        "first call: before / after": first["before, 1"] / first["after, 1"],
    }


@commands.command(
    __doc__,
    commands.text("before", None, "Folder with the other version of the code."),
    commands.text("data", "mixture", "As of bench_selection."),
    commands.text("features", "", "A .npy, an .npz or a folder of them."),
    commands.integer("rows", 60_000, "Number of points."),
    commands.integer("width", 512, "Dimensions; a file has its own."),
    commands.integer("budget", 1000, "Number of picks."),
    commands.integer("repeats", 7, "Warm calls of each version."),
    commands.integer("loops", 2, "Warm calls of the loop."),
    commands.text("output", str(runs.RESULTS / "selection_pairs.json"), "JSON lines."),
    runs.COMMIT,
)
def main(flags: FlagValues) -> None:
    """Measures one row, prints it and adds it to the file."""
    before = pathlib.Path(flags.before).resolve()
    if not (before / "dact_jax").is_dir():
        raise errors.InputError(f"--before={flags.before} has no folder dact_jax.")
    output = pathlib.Path(flags.output)
    published.check_writable(output, flags, flag="output")
    job = {key: flags[key].value for key in ("data", "rows", "width", "budget")}
    features = flags.features and str(pathlib.Path(flags.features).resolve())
    row = measure({**job, "features": features}, before, flags.repeats, flags.loops)
    row["features"] = row["features"] and pathlib.Path(row["features"]).name
    given = {**job, "features": row["features"]}
    shown = [f"--{key}={value}" for key, value in given.items() if value]
    row["command"] = " ".join([COMMAND, *shown])
    kept = [r for r in runs.read(output) if any(r[key] != row[key] for key in job)]
    runs.write(output, [*kept, row])
    print(json.dumps({**row, **_summary(row)}, indent=1))
    if not row["same_picks"]:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv)
