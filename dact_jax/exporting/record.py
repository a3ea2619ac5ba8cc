"""model.json: what a user of an exported model must know, and where it comes from."""

import importlib.metadata
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from dact_jax.classifier import Classifier
from dact_jax.exporting import description
from dact_jax.models import encoders
from dact_jax.rounds import claim, workdir

FILE = "model.json"
VERSION = 1  # of this file's form
_PACKAGES = ("dact_jax", "jax", "flax", "numpy")
_ACCURACIES = {  # of a network, in the row of its round
    "last": ("test_accuracy", "val_accuracy"),
    "best_val": ("test_at_best_val", "best_val"),
}


def text(record: Mapping[str, Any]) -> str:
    """The record as JSON; names that are not text are escaped."""
    return json.dumps(record, indent=2) + "\n"


def of(classifier: Classifier, folder: pathlib.Path, form: str) -> dict[str, Any]:
    """The record of a model, without what its format adds.

    Args:
      folder: of the run.
      form: the format.
    """
    config = classifier.config
    is_resnet = config.model.encoder in encoders.RESNETS
    return {
        "format": form,
        "version": VERSION,
        "classes": list(classifier.class_names),
        "input": _input(classifier, inside=form != "npz"),
        "output": "logits, one column a class; softmax gives probabilities",
        "network": {
            "encoder": config.model.encoder,
            "variant": config.model.variant if is_resnet else None,
            "backbone": classifier.backbone.name if classifier.backbone else None,
            "method": config.method,
            "method_options": config.methods[config.method].to_dict(),
            "norm_row": config.eval.branch if config.model.num_norms > 1 else "shared",
        },
        "provenance": _provenance(classifier, folder),
    }


def _input(classifier: Classifier, *, inside: bool) -> dict[str, Any]:
    """What a model takes, and how an image becomes it.

    Args:
      inside: whether the model itself crops, normalizes and scales.
    """
    pixels, steps = description.pixels(classifier), []
    if pixels is not None:
        steps += ["center crop", "(pixel - mean) / std"]
    if classifier.network.on_vectors and classifier.config.data.scale == "unit":
        steps.append("each vector is divided by its root mean square")
    done = {"done_inside" if inside else "left_to_you": steps}
    if pixels is None:
        shape = ["batch", classifier.image_shape[-1]]
        return {"kind": "vectors", "shape": shape, **done}
    order = "red, green, blue" if pixels.channels == 3 else "gray"
    shape = ["batch", pixels.channels, pixels.side, pixels.side]
    return {
        "kind": "pixels",
        "shape": shape,
        "values": f"0 to 255, {order}",
        "resize": [pixels.side, pixels.side],
        "keeps_aspect_ratio": False,
        "filter": pixels.filter,
        "antialias": True,
        **done,
        "crop": pixels.crop,
        "mean": list(pixels.mean),
        "std": list(pixels.std),
    }


def _provenance(classifier: Classifier, folder: pathlib.Path) -> dict[str, Any]:
    config, origin = classifier.config, classifier.origin
    rows = workdir.read(folder)
    measured = {row["round"]: row for row in rows if row["event"] == "round"}
    found: dict[str, Any] = {"run": config.name, "seed": config.seed}
    if origin is not None:
        picks = workdir.read_picks(folder)
        bought = {p.id for p in picks if p.side == "target" and p.round <= origin.round}
        found |= {"network": str(origin), "labels": len(bought)}
        row = measured.get(origin.round) if origin.finished else None
        test, val = _ACCURACIES[origin.network]
        found["test_accuracy"] = row and row[test]
        found["test_images"] = row and row["test_images"]
        found["validation_accuracy"] = row and row[val]
    found["data"] = dict(claim.read(folder).data)
    found["versions"] = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return found
