"""Time from the command to the first iteration, with and without kept programs.

Makes: a printed table; rows as JSON lines with --output or --commit.
Data:  none; with --before, a clone of older code, in which the same is timed in turn.
Time:  4 min on 2 CPU cores, 6 with --before.

    python -m experiments.startup --before=/path/to/an/older/clone --output=startup.json

Each process runs a config until its first iteration is done. The first process of a
code has an empty folder of compiled programs (cold), and all others have what it kept
(warm). Warm starts of both codes alternate; a row has the medians of their seconds.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

from absl import flags

from dact_jax import errors
from experiments import commands, fingerprints, machine, runs

_ROOT = pathlib.Path(__file__).parents[1]
_WATCH = pathlib.Path(__file__).with_name("startup_watch.py").read_text("utf-8")
_WATCHED = f"{_WATCH}\nimport sys; main(float(sys.argv[1]), sys.argv[2])"
_TIMES = ("imported", "made", "first_iteration")

Told = Mapping[str, float]


def start(code: pathlib.Path, caches: pathlib.Path, config: str) -> Told:
    """What one process tells of its start.

    Args:
      code: the folder that holds the package.
      caches: the user's caches, with the programs that are kept.

    Raises:
      InputError: the process fails.
    """
    environment = {**os.environ, "PYTHONPATH": str(code), "XDG_CACHE_HOME": str(caches)}
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-P", "-c", _WATCHED, str(time.time()), config],
        env=environment,
        cwd=caches,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        last = done.stderr.strip().splitlines()[-1:] or ["it told nothing"]
        raise errors.InputError(f"{config} with the code in {code} failed: {last[0]}.")
    return json.loads(lines[-1])


def measure(codes: Mapping[str, pathlib.Path], config: str, repeats: int) -> dict:
    """A row: one cold start of each code, then warm starts in turn."""
    row: dict = {"config": config, "repeats": repeats}
    with tempfile.TemporaryDirectory() as place:
        caches = {name: pathlib.Path(place, name) for name in codes}
        for folder in caches.values():
            folder.mkdir()

        def starts() -> dict[str, Told]:
            return {name: start(codes[name], caches[name], config) for name in codes}

        cold = starts()
        warm = [starts() for _ in range(repeats)]
    for name in codes:
        told = [each[name] for each in warm]
        row[name] = {
            "cold": {**{t: round(cold[name][t], 2) for t in _TIMES}},
            "warm": {
                t: round(statistics.median(each[t] for each in told), 2) for t in _TIMES
            },
            "programs": cold[name]["compiled"],
            "compiled_warm": max(each["compiled"] for each in told),
        }
    return row


def _shown(rows: list[dict]) -> str:
    """A table of what each row has, relative to the cold start of the first code."""
    body = []
    for row in rows:
        names = [name for name in ("before", "now") if name in row]
        first = row[names[0]]["cold"]["first_iteration"]
        for name in names:
            of = row[name]
            body.append(
                [
                    row["config"],
                    name,
                    *(
                        f"{of[k]['first_iteration'] / first:.2f}"
                        for k in ("cold", "warm")
                    ),
                    str(of["programs"]),
                    str(of["compiled_warm"]),
                ]
            )
    head = ["config", "code", "cold", "warm", "programs compiled", "in a warm start"]
    return runs.table(head, body)


@commands.command(
    __doc__,
    commands.words("configs", ("tiny", "digits"), "Packaged configs."),
    commands.text("before", "", "Folder of an older clone, to compare with; '': none."),
    commands.integer("repeats", 5, "Warm starts of each code."),
    commands.text("output", "", "File for the rows; '': none is written."),
    runs.COMMIT,
)
def main(values: flags.FlagValues) -> None:
    """Measures each config, and writes a row for it."""
    path = runs.RESULTS / "startup.json" if values.commit else None
    if values.output:
        path = pathlib.Path(values.output)
        if path.resolve().parent == runs.RESULTS.resolve() and not values.commit:
            raise errors.InputError(f"{path} holds published rows: add --commit.")
    codes = {"now": _ROOT}
    if values.before:
        older = pathlib.Path(values.before)
        if not (older / "dact_jax").is_dir():
            raise errors.InputError(f"--before={older} holds no folder dact_jax.")
        codes = {"before": older.resolve(), **codes}
    rows = runs.read(path) if path else []
    for config in values.configs:
        row = measure(codes, config, values.repeats)
        row |= {**machine.described(), "git": machine.commit()}
        row["code"] = fingerprints.of_timed("startup")
        before = "--before=OLDER " if values.before else ""
        row["command"] = (
            f"python -m experiments.startup {before}--configs={config} "
            f"--repeats={values.repeats}"
        )
        rows = [other for other in rows if other["config"] != config] + [row]
        if path:
            runs.write(path, rows)
    print(_shown(rows))


if __name__ == "__main__":
    main(sys.argv)
