"""The stages of gpu_check.sh: what should be measured on a GPU or TPU, as one JSON.

Makes: --output, with the device, and for each stage its command, seconds and findings.
Data:  none.
Time:  under 8 min on a GPU; 5 min of processor time on a CPU, with --size=small.

    sh experiments/gpu_check.sh
"""

import argparse
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

TOTAL = 470.0  # seconds of all stages
_PATIENCE = 1200.0  # seconds of a stage with --size=small
_TAIL = 1500  # characters of a stage's output that are kept
# What the package imports at its start, and pytest, which runs the golden tests.
_MODULES = {
    "absl": "absl-py",
    "flax": "flax",
    "grain": "grain",
    "jax": "jax",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "ml_collections": "ml-collections",
    "numpy": "numpy",
    "optax": "optax",
    "orbax": "orbax-checkpoint",
    "PIL": "pillow",
    "yaml": "PyYAML",
    "rich": "rich",
    "safetensors": "safetensors",
    "sklearn": "scikit-learn",
    "threadpoolctl": "threadpoolctl",
    "pytest": "pytest",
}


class Stage(NamedTuple):
    name: str
    arguments: Sequence[str]  # of Python
    limit: float  # seconds
    rows: str = ""  # name of the file of JSON lines that it writes


def missing() -> list[str]:
    """The packages that this Python lacks, by the names of their wheels."""
    return [
        package
        for module, package in _MODULES.items()
        if importlib.util.find_spec(module) is None
    ]


def describe() -> dict[str, Any]:
    """The device, as JAX sees it in a process of its own, which gives it back."""
    code = (
        "import jax, json; d = jax.devices()[0]; print(json.dumps({'backend': "
        "jax.default_backend(), 'device': d.device_kind, 'devices': "
        "jax.device_count(), 'jax': jax.__version__}))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if asked.returncode:
        _stop(f"jax finds no device: {_last_line(asked.stderr)}")
    return dict(json.loads(asked.stdout.strip().splitlines()[-1]))


def stages(size: str, backend: str, folder: pathlib.Path) -> list[Stage]:
    """What is done, the most important first."""
    golden = ["tests/methods/test_golden_methods.py"]
    steps = "--backbones=lenet --methods=mme,alda --batches=2 --pixels=16"
    steps += " --seconds=0.1 --repeats=1 --chunk=2"
    small = "--backbones=resnet18 --methods=alda --batches=2 --pixels=32"
    small += " --seconds=0.1 --repeats=1 --chunk=1"
    selection = "--rows=2000 --width=16 --budget=20 --contestants=numpy --repeats=1"
    selection += " --pass_rows=1000 --product=64"
    if size == "full":
        golden += [
            "tests/methods/test_golden_loss_prediction.py",
            "tests/models/test_golden_models.py",
            "tests/training/test_golden_steps.py",
        ]
        # A width of MME's and ALDA's papers, then one that fills the card.
        small = "--backbones=resnet50 --methods=alda --batches=32,192 --chunk=25"
        small += " --repeats=3 --seconds=3"
        steps = "--backbones=lenet,resnet18 --methods=mme --batches=64 --chunk=25"
        steps += " --repeats=3 --seconds=2"
        platform = "gpu" if backend == "gpu" else "cpu"
        selection = "--rows=200000 --width=512 --budget=1000 --contestants=torch"
        selection += f" --repeats=2 --limit=40 --platform={platform}"
    bench = ["-m", "experiments.bench_step"]

    def into(name: str) -> str:
        return f"--output={folder / name}"

    return [
        Stage(
            "golden tests",
            # No plugins of the project's settings: those may not be installed.
            ["-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", *golden],
            110.0,
        ),
        Stage("kill and resume", ["-m", "experiments.kill_and_resume"], 90.0),
        Stage(
            "step, resnet",
            [*bench, *small.split(), into("resnet.json")],
            170.0,
            "resnet.json",
        ),
        Stage(
            "selection",
            ["-m", "experiments.bench_selection", *selection.split(), into("k.json")],
            60.0,
            "k.json",
        ),
        Stage(
            "step, small networks",
            [*bench, *steps.split(), into("steps.json")],
            90.0,
            "steps.json",
        ),
    ]


def perform(
    stage: Stage, folder: pathlib.Path, left: float, env: Mapping[str, str]
) -> dict[str, Any]:
    """What a stage found; it is ended with all its processes when its time is over."""
    limit = min(stage.limit, left)
    found = {"name": stage.name, "command": f"python {' '.join(stage.arguments)}"}
    if limit <= 1:
        return {**found, "ok": False, "why": "no time was left for it"}
    began, log = time.monotonic(), folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *stage.arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **env},
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            found["why"] = f"it took more than {limit:.0f} seconds"
    text = log.read_text(errors="replace")
    code = process.returncode
    if code and "why" not in found:
        found["why"] = f"exit code {code}: {_last_line(text)}"
    rows = folder / stage.rows
    return {
        **found,
        "ok": code == 0,
        "seconds": round(time.monotonic() - began, 1),
        "output": text[-_TAIL:],
        "rows": _rows(rows) if stage.rows and rows.is_file() else [],
    }


def _rows(path: pathlib.Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _stop(why: str) -> None:
    print(f"gpu_check: {why}", file=sys.stderr)
    sys.exit(2)


class _Parser(argparse.ArgumentParser):
    """Of the standard library: absl may be one of the packages that are missing."""

    def format_help(self) -> str:
        """The module's docstring, then the flags."""
        return f"{__doc__}\n{super().format_help()}"


def main(arguments: Sequence[str]) -> None:
    """Does all stages; each is recorded when it is done.

    Args:
      arguments: the name of the command and its flags.
    """
    parser = _Parser(prog="gpu_check.sh")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--size", default="auto", choices=("auto", "full", "small"))
    options = parser.parse_args(arguments[1:])
    if absent := missing():
        _stop(
            f"this Python lacks {', '.join(absent)}: install them, or give a folder "
            "with their wheels and those that these need as WHEELS."
        )
    device = describe()
    size = options.size
    if size == "auto":
        size = "small" if device["backend"] == "cpu" else "full"
    # The tests' own setting is the CPU.
    env = {"JAX_PLATFORMS": {"gpu": "cuda,cpu"}.get(device["backend"], "")}
    env["JAX_PLATFORMS"] = env["JAX_PLATFORMS"] or device["backend"]
    began = time.monotonic()
    record: dict[str, Any] = {**device, "size": size, "stages": []}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        for stage in stages(size, device["backend"], folder):
            left = TOTAL - (time.monotonic() - began)
            if size == "small":  # on whatever processor: nothing is measured
                stage, left = stage._replace(limit=_PATIENCE), _PATIENCE
            found = perform(stage, folder, left, env)
            record["stages"].append(found)
            record["seconds"] = round(time.monotonic() - began, 1)
            options.output.write_text(json.dumps(record, indent=1) + "\n")
            said = "ok" if found["ok"] else f"failed: {found['why']}"
            print(f"{stage.name}: {said}", flush=True)
    print(f"{options.output} has what was found on {device['device']}.")
    if not all(found["ok"] for found in record["stages"]):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv)
