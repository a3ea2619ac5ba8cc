"""`--format=npz`: variables.npz, the network's numbers by the names that Flax gives."""

import pathlib
from typing import Any

import jax
import numpy as np

from dact_jax import array_files, storage
from dact_jax.classifier import Classifier
from dact_jax.exporting import comparison, tensors
from dact_jax.exporting.written import Written
from dact_jax.models import heads, model
from dact_jax.types import PyTree, Variables

FILE = "variables.npz"
_USED = (model.ENCODER, heads.BOTTLENECK, heads.CLASSIFIER)  # discriminators are not


def require() -> None:
    """Nothing is missing: NumPy is always there."""


def check(classifier: Classifier) -> None:
    """Nothing is refused: every network has variables."""
    del classifier


def write(
    classifier: Classifier, folder: pathlib.Path, stored: np.ndarray, *, input_type: str
) -> Written:
    """Writes the file, reads it, and computes logits by what was read.

    Args:
      folder: that it is written to.
      stored: images as `samples.Samples` has them.
      input_type: ignored, since the file holds no program.
    """
    del input_type
    with storage.atomic(folder / FILE) as draft, draft.open("wb") as file:
        np.savez(file, allow_pickle=False, **_arrays(classifier))
    read = _with_arrays(classifier, array_files.read(folder / FILE))
    return Written(comparison.ours(read, stored), "dact_jax from the written arrays")


def _arrays(classifier: Classifier) -> dict[str, np.ndarray]:
    row = tensors.one_row(classifier.variables, classifier.network.domain)
    named = _named(row, "")
    found = {
        name: value
        for name, value in named.items()
        if not name.startswith("params.") or _is_used(name)
    }
    if classifier.backbone is not None:
        found |= _named(classifier.backbone.variables, tensors.BACKBONE)
    return found


def _with_arrays(classifier: Classifier, arrays: dict[str, np.ndarray]) -> Classifier:
    """The classifier with the numbers of the file; both domains have the one row."""

    def leaf(start: str) -> Any:
        def read(path: Any, old: jax.Array) -> np.ndarray:
            name = _name(path)
            if not start and name.startswith("params.") and not _is_used(name):
                return np.asarray(old)
            return np.broadcast_to(arrays[start + name], np.shape(old))

        return read

    along = jax.tree_util.tree_map_with_path
    variables: Variables = along(leaf(""), classifier.variables)
    read = classifier._replace(variables=jax.tree.map(jax.numpy.asarray, variables))
    if classifier.backbone is None:
        return read
    found = along(leaf(tensors.BACKBONE), classifier.backbone.variables)
    found = jax.tree.map(jax.numpy.asarray, found)
    return read._replace(backbone=classifier.backbone._replace(variables=found))


def _is_used(name: str) -> bool:
    """Whether a parameter is of the classifier, and not of a discriminator."""
    return name.split(".")[1] in _USED


def _named(tree: PyTree, start: str) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {start + _name(path): np.asarray(leaf) for path, leaf in leaves}


def _name(path: Any) -> str:
    """Such as "params.encoder.conv1.kernel"."""
    return ".".join(
        str(getattr(part, "key", getattr(part, "name", ""))) for part in path
    )
