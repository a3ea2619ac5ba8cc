"""The network of a file of torch's tensors, by our own readers of such files."""

import pathlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax.classifier import Classifier
from dact_jax.exporting import tensors
from dact_jax.models import heads, pretrained
from dact_jax.models.backbones import EFFICIENTNET, Backbone
from dact_jax.models.frozen import families
from dact_jax.models.pretrained import Weights
from dact_jax.types import PyTree

# CLUE's names of a LeNet's layers, which `pretrained` reads.
_LENET = {"conv1": "conv_params.0", "conv2": "conv_params.3", "fc1": "fc_params"}
_REST = ""  # the group of the encoder's tensors


def classifier(
    original: Classifier, file: pathlib.Path, encoder: str, head: str
) -> Classifier:
    """The classifier with the numbers of a file in place of its own.

    Args:
      file: model.safetensors, as it was written.
      encoder, head: as for `tensors.of`.

    Raises:
      InputError: a tensor is missing or has another shape.
    """
    weights = pretrained.load_weights(file)
    starts = {heads.CLASSIFIER: f"{head}.", heads.BOTTLENECK: f"{heads.BOTTLENECK}."}
    groups = _groups(weights.tensors, (tensors.BACKBONE, *starts.values()))
    names, kind = groups[_REST], encoder.lower()
    if kind == "lenet":
        names = {_clues_name(name): tensor for name, tensor in names.items()}
    variables = pretrained.apply_weights(
        original.variables, weights._replace(tensors=names), kind
    )
    params = dict(variables.params)
    for name, start in starts.items():
        if name in params:
            params[name] = _head(params[name], groups[start])
    read = original._replace(variables=variables._replace(params=params))
    if original.backbone is None:
        return read
    own = weights._replace(tensors=groups[tensors.BACKBONE])
    found = original.backbone._replace(variables=_backbone(original.backbone, own))
    return read._replace(backbone=found)


def _groups(
    named: Mapping[str, np.ndarray], starts: tuple[str, ...]
) -> dict[str, dict[str, np.ndarray]]:
    """What begins names -> tensors by the rest of their names."""
    groups: dict[str, dict[str, np.ndarray]] = {start: {} for start in (*starts, _REST)}
    for name, tensor in named.items():
        start = next((start for start in starts if name.startswith(start)), _REST)
        groups[start][name.removeprefix(start)] = tensor
    return groups


def _clues_name(name: str) -> str:
    module, _, leaf = name.rpartition(".")
    return f"{_LENET.get(module, module)}.{leaf}"


def _head(params: PyTree, named: Mapping[str, np.ndarray]) -> PyTree:
    """The parameters of a head; a single layer has no name of its own in the file."""
    found: dict[str, dict[str, jax.Array]] = {}
    for layer, leaves in params.items():
        start = "" if layer == "fc" else f"{layer}."
        found[layer] = {"kernel": jnp.asarray(named[f"{start}weight"].T)}
        if "bias" in leaves:
            found[layer]["bias"] = jnp.asarray(named[f"{start}bias"])
    return found


def _backbone(backbone: Backbone, weights: Weights) -> PyTree:
    """The variables of a frozen network."""
    if backbone.name != EFFICIENTNET:
        options = families.Options(side=backbone.side, implementation="stock")
        return families.recognize(weights, options).variables
    params: dict[str, dict[str, jax.Array]] = {}
    for name, tensor in weights.tensors.items():
        module, _, leaf = name.rpartition(".")
        if module.startswith("blocks."):
            _, number, part = module.split(".")
            module = f"block{number}_{part}"
        kernel = leaf == "weight"
        value = jnp.asarray(tensor.transpose(2, 3, 1, 0) if kernel else tensor)
        params.setdefault(module, {})["kernel" if kernel else leaf] = value
    return {"params": params}
