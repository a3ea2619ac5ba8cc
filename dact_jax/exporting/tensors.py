"""The variables of a classifier as tensors, in torch's names and layouts."""

import math
import re
from typing import Any

import jax
import numpy as np

from dact_jax.classifier import Classifier
from dact_jax.models import heads, model
from dact_jax.models.backbones import Backbone
from dact_jax.types import PyTree, Variables

BACKBONE = "backbone."  # begins the names of its tensors
LENET_CHANNELS = 50  # of its second convolution
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
_MODULES = (  # how a module is called here and in torch
    (re.compile(r"^layer(\d)_(\d+)"), r"layer\1.\2"),  # ResNets, torchvision
    (re.compile(r"downsample_conv$"), "downsample.0"),
    (re.compile(r"downsample_bn$"), "downsample.1"),
    (re.compile(r"^block(\d+)_"), r"blocks.\1."),  # EfficientNet-Lite0
)
_PATCHES = "patch_embed.proj.weight"  # of a ViT


def of(classifier: Classifier, encoder: str, head: str) -> dict[str, np.ndarray]:
    """All tensors of a classifier, float32.

    The row of batch norm that target images pass in evaluation becomes ordinary batch
    norm.

    Args:
      encoder: its class in `torch_parts`.
      head: what begins the names of the classifier's own tensors.
    """
    row = one_row(classifier.variables, classifier.network.domain)
    found: dict[str, np.ndarray] = {}
    stats = model.encoder_stats(row.stats)
    for tree in (row.params[model.ENCODER], row.norm, stats):
        found |= _named(tree)
    if encoder == "LeNet":
        found["fc1.weight"] = _channels_first(found["fc1.weight"])
    for name, start in ((heads.BOTTLENECK, heads.BOTTLENECK), (heads.CLASSIFIER, head)):
        for rest, tensor in _named(row.params.get(name, {})).items():
            found[f"{start}.{rest.removeprefix('fc.')}"] = tensor
    if classifier.backbone is not None:
        found |= _of_backbone(classifier.backbone)
    return {name: np.ascontiguousarray(x, np.float32) for name, x in found.items()}


def one_row(variables: Variables, domain: int) -> Variables:
    """The variables with the row of one domain alone, float32[C] in each leaf."""

    def row(leaf: jax.Array) -> np.ndarray:
        return np.asarray(leaf)[domain if len(leaf) > 1 else 0]

    return Variables(
        variables.params,
        jax.tree.map(row, variables.norm),
        jax.tree.map(row, variables.stats),
    )


def _of_backbone(backbone: Backbone) -> dict[str, np.ndarray]:
    variables = backbone.variables
    if isinstance(variables, Variables):  # a ResNet, whose batch norm has one row
        row = one_row(variables, 0)
        trees = [row.params[model.ENCODER], row.norm, row.stats]
    else:
        trees = [variables["params"]]
    found: dict[str, np.ndarray] = {}
    for tree in trees:
        found |= _named(tree)
    if _PATCHES in found:
        found[_PATCHES] = _squares(found[_PATCHES])
    return {f"{BACKBONE}{name}": tensor for name, tensor in found.items()}


def _named(tree: PyTree) -> dict[str, np.ndarray]:
    """The leaves of nested dicts by torch's names, in torch's layouts."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): _layout(path, np.asarray(leaf)) for path, leaf in leaves}


def _name(path: Any) -> str:
    *modules, leaf = (part.key for part in path)
    module = ".".join(modules)
    for pattern, name in _MODULES:
        module = pattern.sub(name, module)
    return f"{module}.{_LEAVES.get(leaf, leaf)}".removeprefix(".")


def _layout(path: Any, leaf: np.ndarray) -> np.ndarray:
    """(kh, kw, C, O) -> (O, C, kh, kw), (in, out) -> (out, in); others as they are."""
    if path[-1].key != "kernel":
        return leaf
    return leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf.T


def _channels_first(weight: np.ndarray) -> np.ndarray:
    """Columns in the order (h, w, C) -> (C, h, w), for a LeNet."""
    side = math.isqrt(weight.shape[1] // LENET_CHANNELS)
    weight = weight.reshape(-1, side, side, LENET_CHANNELS)
    return weight.transpose(0, 3, 1, 2).reshape(len(weight), -1)


def _squares(weight: np.ndarray) -> np.ndarray:
    """[D, patch patch 3] -> [D, 3, patch, patch]."""
    patch = math.isqrt(weight.shape[1] // 3)
    return weight.reshape(-1, patch, patch, 3).transpose(0, 3, 1, 2)
