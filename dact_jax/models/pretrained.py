"""Pretrained weights: torchvision's and timm's ResNets, CLUE's LeNet."""

import math
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors

from dact_jax import array_files, errors
from dact_jax.models.weight_files import state_dicts, torch_files
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
IGNORED = re.compile(  # tensors that a file may have and the encoder does not
    r"(^(fc|(pretext_)?classifier\.2)\.(weight|bias)|num_batches_tracked)$"
)
_TYPES = ("float16", "bfloat16", "float32", "float64")
# As safetensors calls what NumPy can hold.
_READABLE = (
    *("F64", "F32", "F16", "BF16", "C64"),
    *("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"),
)


class Weights(NamedTuple):
    path: str
    tensors: dict[str, np.ndarray]  # in torch's names and layouts


def load_weights(path: str | pathlib.Path, prefix: str = "") -> Weights:
    """Reads a .safetensors, .npz or PyTorch (.pth, .pt, .th) file.

    No more memory is taken than `array_files` and the size of the file allow.

    Args:
      path: of the file.
      prefix: of the names to read, as for `state_dicts.choose`, which also removes what
        tools put before names.

    Raises:
      InputError: the file does not exist, cannot be read as its suffix says (any other
        suffix: as a PyTorch file), or has no names with the prefix.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise errors.InputError(f"weights file {path} does not exist.")
    readers: dict[str, Callable[..., dict[str, np.ndarray]]] = {
        ".safetensors": _read_safetensors,
        ".npz": array_files.read,
    }
    tensors = readers.get(path.suffix.lower(), torch_files.load)(path)
    return Weights(str(path), state_dicts.choose(tensors, prefix, str(path)))


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    tensors = {}
    try:
        with safetensors.safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 (it cannot be iterated itself)
                dtype = file.get_slice(name).get_dtype()
                if dtype not in _READABLE:
                    raise errors.InputError(_wrong_type(name, path, dtype))
                tensors[name] = file.get_tensor(name)
    except errors.InputError:
        raise
    except (safetensors.SafetensorError, *torch_files.MALFORMED) as error:
        raise errors.InputError(
            f"weights file {path} cannot be read: {errors.clause(error)}."
        ) from error
    return tensors


def _wrong_type(name: str, path: object, dtype: object) -> str:
    return (
        f"{errors.quoted(name)} in {path} has the type {dtype}: save the weights as "
        "floating-point numbers of 16, 32 or 64 bits."
    )


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
      InputError: a tensor is missing, has the wrong shape or type, is not finite, or is
        not part of the encoder.
    """
    modules = ["encoder", "classifier"] if classifier else ["encoder"]
    parts = [variables.params[name] for name in modules]
    _check_names(weights, [*parts, variables.norm, variables.stats], encoder)

    def read(path: Any, shape: tuple[int, ...]) -> np.ndarray:
        name = _torch_name(path, encoder)
        return _from_torch(tensor(weights, name, _torch_shape(shape), encoder), name)

    def param(path: Any, old: jax.Array) -> jax.Array:
        return jnp.asarray(read(path, old.shape))

    def rows(path: Any, old: jax.Array) -> jax.Array:
        return jnp.broadcast_to(read(path, old.shape[1:]), old.shape)

    map_leaves = jax.tree_util.tree_map_with_path
    params = {name: map_leaves(param, variables.params[name]) for name in modules}
    return Variables(
        variables.params | params,
        map_leaves(rows, variables.norm),
        map_leaves(rows, variables.stats),
    )


def needed(parts: Sequence[Any], encoder: str) -> list[str]:
    """The names in torch of all leaves of parts of the variables."""
    leaves = [jax.tree_util.tree_leaves_with_path(part) for part in parts]
    return [_torch_name(path, encoder) for part in leaves for path, _ in part]


def _check_names(weights: Weights, parts: Sequence[Any], encoder: str) -> None:
    """Raises InputError unless the file has the tensors of the encoder and no other."""
    wanted, names = needed(parts, encoder), weights.tensors
    missing = [name for name in wanted if name not in names]
    others = [n for n in names if n not in wanted and not IGNORED.search(n)]
    if missing and (starts := list(state_dicts.prefixes(names, wanted))):
        raise errors.InputError(
            f"{weights.path} holds the tensors of {encoder} under the prefix "
            f"{' and under '.join(map(errors.quoted, starts))}, beside others: choose "
            f"them by model.weights_prefix={errors.quoted(starts[0])}."
        )
    if missing:
        raise errors.InputError(
            f"{weights.path} lacks {missing[0]}, which {encoder} needs; it has "
            f"{state_dicts.listed(others or names)}."
        )
    if others:
        raise errors.InputError(
            f"{errors.quoted(others[0])} in {weights.path} is not a tensor of "
            f"{encoder}."
        )


def tensor(
    weights: Weights, name: str, shape: tuple[int, ...], encoder: str
) -> np.ndarray:
    """A tensor of a file as finite float32[shape].

    Raises:
      InputError: it has another shape or type, or is not finite.
    """
    found = weights.tensors[name]
    if found.shape != shape:
        raise errors.InputError(
            f"{name} in {weights.path} has the shape {list(found.shape)}; {encoder} "
            f"needs {list(shape)}."
        )
    if found.dtype.name not in _TYPES:
        raise errors.InputError(_wrong_type(name, weights.path, found.dtype))
    with np.errstate(over="ignore"):
        values = found.astype(np.float32)
    if not np.isfinite(values).all():
        raise errors.InputError(
            f"{name} in {weights.path} holds NaN or infinite numbers: give "
            "weights of a training that did not diverge."
        )
    return values


def _torch_name(path: Any, encoder: str) -> str:
    """The name in torch of a leaf of the variables."""
    *modules, leaf = (part.key for part in path)
    rename = _lenet_name if encoder == "lenet" else _resnet_name
    return f"{rename('.'.join(modules))}.{_LEAVES[leaf]}"


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
