"""What measured figures depend on besides the code: processor, versions, commit."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

PACKAGES = ("numpy", "jax", "torch", "scikit-activeml")
ROOT = pathlib.Path(__file__).resolve().parents[1]


def described() -> dict[str, Any]:
    """Columns of a row on the processor and the versions of packages."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    cpu = models[0] if models else platform.processor()
    return {"cpu": cpu, "cpu_cores": os.cpu_count(), "versions": versions}


def commit(folder: pathlib.Path = ROOT) -> str | None:
    """The git commit of a version, with + if files differ from it; None without git."""
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
