"""A tiny run that is killed and resumed, beside one that is not.

Makes: a JSON object in the last line of the output: accuracies of both, and whether
       every number and pick is equal.
Data:  none.
Time:  2 min of processor time on 2 CPU cores.

    python -m experiments.kill_and_resume

The exit code is 1 if the resumed run does not finish, or if an accuracy differs by more
than 10 points. On CPU every number must be equal. A GPU may add in another order each
time, so there "equal" is a finding.
"""

import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
from absl.flags import FlagValues

import dact_jax
from experiments import commands

_BAND = 0.1  # of an accuracy
_PATIENCE = 300.0  # seconds until the first checkpoint


def _start(config: str, folder: pathlib.Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "dact_jax.main", f"--config={config}"]
    command += [f"--workdir={folder}", "--config.figures=False"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _finish(config: str, folder: pathlib.Path) -> None:
    if code := _start(config, folder).wait():
        sys.exit(f"the run in {folder} ended with exit code {code}.")


def kill(config: str, folder: pathlib.Path) -> int:
    """Starts a run, and kills it after its first rows; how many it had."""
    process, metrics = _start(config, folder), folder / "metrics.jsonl"
    until = time.monotonic() + _PATIENCE
    try:
        while process.poll() is None and time.monotonic() < until:
            rows = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
            if rows >= 3 and any((folder / "checkpoints").iterdir()):
                return rows
            time.sleep(0.02)
        sys.exit("the run ended, or had no checkpoint, before it could be killed.")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _record(config: str, folder: pathlib.Path) -> tuple[list[Any], Any, bytes]:
    done = dact_jax.run(
        dact_jax.config(config, figures=False), folder, progress=False
    )  # it is finished: this only reads
    rows = [
        {name: value for name, value in row.items() if not name.startswith("seconds")}
        for row in done.rows
    ]
    return rows, done.accuracies, (folder / "picks.csv").read_bytes()


@commands.command(__doc__, commands.text("config", "tiny", "Config of the run."))
def main(flags: FlagValues) -> None:
    """Does both runs and compares them."""
    with tempfile.TemporaryDirectory() as place:
        whole, killed = (pathlib.Path(place) / name for name in ("whole", "killed"))
        rows = kill(flags.config, killed)
        _finish(flags.config, killed)
        _finish(flags.config, whole)
        records = [_record(flags.config, folder) for folder in (whole, killed)]
    (one, accuracies, picks), (other, resumed, others) = records
    equal = one == other and picks == others
    apart = max(abs(a - b) for a, b in zip(accuracies, resumed, strict=True))
    found = {
        "killed_after_rows": rows,
        "accuracies": accuracies,
        "resumed_accuracies": resumed,
        "equal": equal,
    }
    print(json.dumps(found))
    if apart > _BAND or (jax.default_backend() == "cpu" and not equal):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv)
