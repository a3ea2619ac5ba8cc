"""Pretrained weights: torchvision's and timm's ResNets, CLUE's LeNet."""

import math
import pathlib
import re
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from dact_jax import array_files, errors
from dact_jax.models import torch_files
from dact_jax.types import Variables

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
_LENET = {
    "conv1": "conv_params.0",
    "conv2": "conv_params.3",
    "fc1": "fc_params",
    "fc": "classifier.2",
}
_LENET_CHANNELS = 50  # of its second convolution
_IGNORED = re.compile(  # tensors that a file may have and the encoder does not
    r"(^(fc|(pretext_)?classifier\.2)\.(weight|bias)|num_batches_tracked)$"
)
_UNREADABLE = (
    safetensors.SafetensorError,
    zipfile.BadZipFile,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
)


class Weights(NamedTuple):
    path: str
    tensors: dict[str, np.ndarray]  # in torch's names and layouts


def load_weights(path: str | pathlib.Path) -> Weights:
    """Reads a .safetensors, .npz or PyTorch (.pth, .pt, .th) file.

    The prefix "module." of names, which torch's DataParallel adds, is removed.

    Raises:
      InputError: the file does not exist, or cannot be read as its suffix says (any
        other suffix: as a PyTorch file).
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise errors.InputError(f"weights file {path} does not exist.")
    readers: dict[str, Callable[..., dict[str, np.ndarray]]] = {
        ".safetensors": safetensors.numpy.load_file,
        ".npz": array_files.read,
    }
    try:
        tensors = readers.get(path.suffix, torch_files.load)(path)
    except errors.InputError:
        raise
    except _UNREADABLE as error:
        raise errors.InputError(
            f"weights file {path} cannot be read: {error}."
        ) from error
    tensors = {name.removeprefix("module."): t for name, t in tensors.items()}
    return Weights(str(path), tensors)


def apply_weights(
    variables: Variables, weights: Weights, encoder: str, *, classifier: bool = False
) -> Variables:
    """Copies weights into the encoder of a model, into every batch-norm row.

    Args:
      variables: of the model; only names and shapes of the encoder's leaves matter.
      encoder: "lenet" (names as in CLUE's files), otherwise a ResNet (names as in
        torchvision's and timm's files).
      classifier: whether to load the head "classifier", a `heads.Linear`, as well;
        otherwise the file's classifier is ignored.

    Returns:
      The variables with float32 weights from the file; other heads are unchanged.

    Raises:
      InputError: a tensor is missing, has the wrong shape, or is not part of the
        encoder.
    """
    rename = _lenet_name if encoder == "lenet" else _resnet_name
    used = set()

    def read(path: Any, shape: tuple[int, ...]) -> np.ndarray:
        *modules, leaf = (part.key for part in path)
        name = f"{rename('.'.join(modules))}.{_LEAVES[leaf]}"
        if name not in weights.tensors:
            raise errors.InputError(
                f"{weights.path} lacks {name}, which {encoder} needs."
            )
        used.add(name)
        shape, tensor = _torch_shape(shape), weights.tensors[name]
        if tensor.shape != shape:
            raise errors.InputError(
                f"{name} in {weights.path} has the shape {list(tensor.shape)}; "
                f"{encoder} needs {list(shape)}."
            )
        return _from_torch(tensor.astype(np.float32), name)

    def param(path: Any, old: jax.Array) -> jax.Array:
        return jnp.asarray(read(path, old.shape))

    def rows(path: Any, old: jax.Array) -> jax.Array:
        return jnp.broadcast_to(read(path, old.shape[1:]), old.shape)

    map_leaves = jax.tree_util.tree_map_with_path
    modules = ["encoder", "classifier"] if classifier else ["encoder"]
    params = {name: map_leaves(param, variables.params[name]) for name in modules}
    loaded = Variables(
        variables.params | params,
        map_leaves(rows, variables.norm),
        map_leaves(rows, variables.stats),
    )
    for name in weights.tensors:
        if name not in used and not _IGNORED.search(name):
            raise errors.InputError(
                f"{name} in {weights.path} is not a tensor of {encoder}."
            )
    return loaded


def _lenet_name(module: str) -> str:
    return _LENET.get(module, module)


def _resnet_name(module: str) -> str:
    module = re.sub(r"^layer(\d)_(\d+)", r"layer\1.\2", module)
    return module.replace("downsample_conv", "downsample.0").replace(
        "downsample_bn", "downsample.1"
    )


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Flax to torch: (kh, kw, C, O) -> (O, C, kh, kw), (in, out) -> (out, in)."""
    return (*reversed(shape[-2:]), *shape[:-2]) if len(shape) > 1 else shape


def _from_torch(tensor: np.ndarray, name: str) -> np.ndarray:
    """Torch to Flax, the inverse of `_torch_shape` on the axes of a tensor."""
    if name == _LENET["fc1"] + ".weight":  # inputs (C, h, w) -> (h, w, C)
        side = math.isqrt(tensor.shape[1] // _LENET_CHANNELS)
        tensor = tensor.reshape(-1, _LENET_CHANNELS, side, side)
        tensor = tensor.transpose(0, 2, 3, 1).reshape(len(tensor), -1)
    if tensor.ndim == 4:
        return tensor.transpose(2, 3, 1, 0)
    return tensor.T
