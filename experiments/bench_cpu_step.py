"""The time of an iteration of MME on a CPU: this version, an older one, and torch.

Makes: experiments/results/cpu_step.json, a row for each case.
Data:  none; images are random numbers.
Time:  8 min on 2 CPU cores for all cases, with another version beside.

    python -m experiments.bench_cpu_step --cases=lenet28 --output=runs/cpu_step.json
    python -m experiments.bench_cpu_step --before=../before --commit

Each contestant is a process of its own. The processes are told in turn to do the
iterations of a call, so that never two of them compute at once and all see the same
changes of the machine. The median of the calls counts. Ours does the iterations in one
loop, as a run does; torch does them one after another, in channels_last. torch must be
installed.
"""

import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl.flags import FlagValues

import dact_jax
from dact_jax import errors
from dact_jax.types import Row
from experiments import commands, fingerprints, machine, published, runs

ROOT = pathlib.Path(dact_jax.__file__).parent.parent
WORKER = pathlib.Path(__file__).parent / "cpu_step_process.py"
COMMAND = "python -m experiments.bench_cpu_step --before=BEFORE"


def case(
    encoder: str, side: int, channels: int, batch: int, chunk: int
) -> dict[str, Any]:
    """Columns that say what is timed; the chunk is the iterations of a call."""
    return {
        "encoder": encoder,
        "side": side,
        "channels": channels,
        "batch": batch,
        "chunk": chunk,
    }


CASES = {
    "lenet28": case("lenet", 28, 1, 32, 16),
    "lenet32": case("lenet", 32, 3, 128, 4),
    "resnet18": case("resnet18", 224, 3, 4, 1),
    "resnet50": case("resnet50", 224, 3, 4, 1),
}
FIXED = {"classes": 10, "learning_rate": 0.001}


@contextlib.contextmanager
def started(
    job: Mapping[str, Any], folder: pathlib.Path | None
) -> Iterator[subprocess.Popen[str]]:
    """The process of a contestant, which waits to be told.

    Args:
      folder: of the version of the package; None: torch.
    """
    contestant = "torch" if folder is None else "ours"
    process = subprocess.Popen(
        [sys.executable, WORKER, json.dumps({**job, "contestant": contestant})],
        env={**os.environ, "PYTHONPATH": str(folder or ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def answer(name: str, process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of a contestant.

    Raises:
      InputError: it ended; its own error is on the terminal.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise errors.InputError(f"the contestant {name} failed; see its error above.")
    return dict(json.loads(line))


def tell(process: subprocess.Popen[str]) -> None:
    """Makes a contestant do a call."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def measure(
    job: Mapping[str, Any],
    folders: Mapping[str, pathlib.Path | None],
    repeats: int,
) -> dict[str, Any]:
    """Seconds of an iteration of each contestant, called in turn; and the ratios.

    Args:
      folders: name of a contestant -> folder of its version; None: torch.
      repeats: calls of each.
    """
    with contextlib.ExitStack() as stack:
        processes, entries = {}, {}
        for name, folder in folders.items():  # one after another: starting computes
            processes[name] = stack.enter_context(started(job, folder))
            entries[name] = answer(name, processes[name])
        seconds: dict[str, list[float]] = {name: [] for name in folders}
        for _ in range(repeats):
            for name, process in processes.items():
                tell(process)
                seconds[name].append(answer(name, process)["seconds"])
    for name, entry in entries.items():
        entry |= {"seconds": statistics.median(seconds[name]), "all_s": seconds[name]}
    torch = entries["torch"]["seconds"]
    ratios = {name: entries[name]["seconds"] / torch for name in folders}
    return {"contestants": entries, "ratio_to_torch": ratios}


def shown(rows: Sequence[Row]) -> str:
    """A Markdown table: milliseconds of an iteration, and the ratio to torch."""
    names = ("torch", "before", "now")
    body = []
    for row in rows:
        cells = []
        for name in names:
            entry = row["contestants"].get(name)
            ratio = row["ratio_to_torch"].get(name)
            cells.append(
                "-"
                if entry is None
                else f"{1000 * entry['seconds']:.0f} ({ratio:.2f}x)"
            )
        body.append([row["case"], *cells])
    return runs.table(["case", *names], body)


@commands.command(
    __doc__,
    commands.words("cases", list(CASES), f"Of {', '.join(CASES)}."),
    commands.text("before", "", "Folder of an older version; empty: none beside."),
    commands.integer("repeats", 9, "Calls of each contestant."),
    commands.text("output", str(runs.RESULTS / "cpu_step.json"), "JSON lines."),
    runs.COMMIT,
)
def main(flags: FlagValues) -> None:
    """Measures the cases that the file lacks."""
    for name in flags.cases:
        errors.check_choice("--cases", name, tuple(CASES))
    folders: dict[str, pathlib.Path | None] = {"torch": None}
    if flags.before:
        before = pathlib.Path(flags.before).expanduser().resolve()
        if not (before / "dact_jax" / "__init__.py").is_file():
            raise errors.InputError(f"--before={flags.before} has no folder dact_jax.")
        folders["before"] = before
    folders["now"] = ROOT
    output = pathlib.Path(flags.output)
    rows = runs.read(output)
    present = {row["case"] for row in rows}
    commits = {
        name: machine.commit(folder) for name, folder in folders.items() if folder
    }
    for name in flags.cases:
        if name in present:
            print(f"{output} has the row of {name} already.")
            continue
        published.check_writable(output, flags, flag="output")
        job = {**CASES[name], **FIXED}
        row = {
            "case": name,
            **job,
            **machine.described(),
            "code": fingerprints.of_timed("cpu_step"),
            "command": COMMAND,
            "commits": commits,
            "repeats": flags.repeats,
            **measure(job, folders, flags.repeats),
        }
        rows.append(row)
        runs.write(output, rows)
        print(shown([row]), flush=True)


if __name__ == "__main__":
    main(sys.argv)
