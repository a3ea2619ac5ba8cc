"""What a format gives back once its files are written."""

from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

import numpy as np


class Written(NamedTuple):
    logits: np.ndarray  # of the samples, by the files that were written
    by: str  # what computed them
    record: Mapping[str, Any] = {}  # what model.json says of this format alone


def snippet(name: str) -> str:
    """The text of a program that goes into an exported model's folder."""
    files = resources.files("dact_jax.exporting.snippets")
    return files.joinpath(f"{name}.txt").read_text(encoding="utf-8")
