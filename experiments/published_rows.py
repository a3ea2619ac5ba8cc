"""The rows of the published files, in whichever of two forms they are written."""

import json
from collections.abc import Sequence

from dact_jax.types import Row
from experiments import runs


def read(name: str) -> list[Row]:
    """The rows of experiments/results/<name>.json: JSON lines, or one object."""
    path = runs.RESULTS / f"{name}.json"
    if _is_one_object(path.read_text(encoding="utf-8")):
        return [dict(json.loads(path.read_text(encoding="utf-8")))]
    return runs.read(path)


def write(name: str, rows: Sequence[Row]) -> None:
    """Writes the rows in the form that the file has."""
    path = runs.RESULTS / f"{name}.json"
    if _is_one_object(path.read_text(encoding="utf-8")):
        (row,) = rows
        path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    else:
        runs.write(path, rows)


def _is_one_object(text: str) -> bool:
    """Whether lines are parts of an object, and not objects."""
    return text.startswith("{\n")
