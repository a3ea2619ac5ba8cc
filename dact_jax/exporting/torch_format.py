"""`--format=torch`: model.safetensors and network.py."""

import importlib.util
import pathlib

import numpy as np
import safetensors.numpy

from dact_jax import storage
from dact_jax.classifier import Classifier
from dact_jax.exporting import comparison, description, reading_back, torch_code
from dact_jax.exporting.description import Description
from dact_jax.exporting.written import Written

TENSORS, NETWORK = "model.safetensors", "network.py"
_AT_ONCE = 32  # images


def require() -> None:
    """Nothing is missing: torch itself is not needed to write its files."""


def check(classifier: Classifier) -> None:
    """Raises InputError if the classifier has a part that this form cannot hold."""
    description.describe(classifier)


def write(
    classifier: Classifier,
    folder: pathlib.Path,
    stored: np.ndarray,
    *,
    input_type: str = "float32",
) -> Written:
    """Writes the files, and computes logits by them.

    Args:
      folder: that they are written to.
      stored: images as `samples.Samples` has them.
      input_type: ignored, since the network takes both.
    """
    del input_type
    network = description.describe(classifier)
    content = safetensors.numpy.save(network.tensors, {"format": "pt"})
    storage.write_atomic(folder / TENSORS, content)
    storage.write_atomic(folder / NETWORK, torch_code.text(network))
    if importlib.util.find_spec("torch") is None:
        form = network.encoder.kind, network.head_name
        read = reading_back.classifier(classifier, folder / TENSORS, *form)
        by = "dact_jax from the written tensors, since torch is not installed"
        return Written(comparison.ours(read, stored), by)
    import torch

    return Written(_logits(network, folder, stored), f"torch {torch.__version__}")


def _logits(
    network: Description, folder: pathlib.Path, stored: np.ndarray
) -> np.ndarray:
    """float32[n, K], by the written files alone."""
    import torch
    from safetensors.torch import load_file

    # Not imported by its name, which another module may have.
    code = compile((folder / NETWORK).read_text("utf-8"), NETWORK, "exec")
    names: dict[str, object] = {"__name__": "network"}
    exec(code, names)
    made = names["Network"]()  # type: ignore[operator]
    made.load_state_dict(load_file(folder / TENSORS))
    made.eval()
    x = stored if network.pixels is None else stored.transpose(0, 3, 1, 2)
    x = torch.from_numpy(np.ascontiguousarray(x))
    with torch.inference_mode():
        return torch.cat([made(part) for part in x.split(_AT_ONCE)]).numpy()
