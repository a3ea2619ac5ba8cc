"""The settings of a run, as its config.yaml records them."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from dact_jax.reports.sections import content
from dact_jax.reports.sections.content import Section, Table
from dact_jax.rounds import claim, workdir, yaml_files

# Field -> what it is called where only the most important are shown.
_MAIN = {
    "method": "method",
    "acquisition": "acquisition",
    "policy": "policy",
    "data.source": "source",
    "data.target": "target",
    "model.encoder": "network",
    "model.backbone": "frozen network before it",
    "model.weights": "weights",
    "train.steps": "iterations of a round",
    "train.learning_rate": "learning rate",
    "train.precision": "precision of training",
    "seed": "seed",
}


class Settings(NamedTuple):
    main: Section  # the most important, and what computed it
    every: Table  # all fields, by dotted name


def read(folder: pathlib.Path) -> Settings:
    """What config.yaml of a run's folder holds.

    Raises:
      InputError: it is missing or damaged.
    """
    record = claim.read(folder)
    fields = claim.flat(record.config) | dict(record.others)
    known = {name: fields.get(field, "") for field, name in _MAIN.items()}
    shown = [(name, value) for name, value in known.items() if value != ""]
    shown.append(("classes", len(record.classes)))
    about = yaml_files.load(folder / workdir.CONFIG)
    versions = _listed(about.get("versions"))
    devices = ", ".join(dict.fromkeys(map(str, about.get("devices") or [])))
    computed = f"Computed by {versions}, on {devices}." if versions else ""
    main = content.section("Settings", Table(("setting", "value"), shown), computed)
    every = [(name, _text(value)) for name, value in sorted(fields.items())]
    return Settings(main, Table(("field", "value"), every))


def _listed(versions: Any) -> str:
    if not isinstance(versions, Mapping):
        return ""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value in ("", {}) else str(value)
