"""Vision transformer (Dosovitskiy et al., ICLR 2021), frozen, as in timm and DINOv2.

What it is like (width, depth, patches, registers, layer scale) is read from the names
and shapes of its weights.
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors
from dact_jax.types import PyTree

HEAD = 64  # width of an attention head in all of these networks
EPSILON = 1e-6  # of layer norm
ANCHOR = "patch_embed.proj.weight"  # every such file has it
# What a file has beside the network: its classifier, and a token of its training.
IGNORED = re.compile(r"^(head\.(weight|bias)|mask_token)$")
SIZES = {(384, 12): "small", (768, 12): "base", (1024, 24): "large"}

_CHUNK = re.compile(r"^blocks\.\d+\.(\d+)\.")  # DINOv2's blocks for FSDP
_BLOCK = re.compile(r"^blocks\.(\d+)\.")
_REGISTERS = {"register_tokens": "reg_token"}  # DINOv2's name -> timm's
_INNER = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
_MLP = 4  # width of the hidden layer, as a multiple of the network's


class Form(NamedTuple):
    """What a network is like."""

    width: int
    depth: int
    patch: int  # pixels
    grid: int  # patches along a side, of the image that it was trained with
    registers: int  # tokens beside the class's and the patches'
    placed: int  # tokens before the patches that have a position: 0, 1, or all
    scaled: bool  # whether each branch has a layer scale

    @property
    def name(self) -> str:
        """Such as "vit_small_patch14_reg4"."""
        size = SIZES.get((self.width, self.depth), f"{self.width}x{self.depth}")
        registers = f"_reg{self.registers}" if self.registers else ""
        return f"vit_{size}_patch{self.patch}{registers}"


class _Block(nn.Module):
    scaled: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """float32[B, T, D] -> the same shape."""
        width = x.shape[-1]
        y = _attend(nn.Dense(3 * width, name="attn.qkv")(_norm("norm1")(x)))
        x = x + self._scale(nn.Dense(width, name="attn.proj")(y), "ls1")
        y = nn.Dense(_MLP * width, name="mlp.fc1")(_norm("norm2")(x))
        y = nn.Dense(width, name="mlp.fc2")(nn.gelu(y, approximate=False))
        return x + self._scale(y, "ls2")

    def _scale(self, x: jax.Array, name: str) -> jax.Array:
        if not self.scaled:
            return x
        gamma = self.param(f"{name}.gamma", nn.initializers.ones, x.shape[-1:])
        return x * gamma[None, None]


class ViT(nn.Module):
    """The embedding is the class token after the last layer norm.

    Attributes:
      form: `grid` is that of the images it is applied to.
    """

    form: Form

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """float32[B, grid patch, grid patch, 3] -> float32[B, width]."""
        form, zeros = self.form, nn.initializers.zeros
        x = nn.Dense(form.width, name="patch_embed.proj")(_patches(images, form))
        before = [self.param("cls_token", zeros, (1, 1, form.width))]
        if form.registers:
            tokens = (1, form.registers, form.width)
            before.append(self.param("reg_token", zeros, tokens))
        count = form.placed + form.grid**2
        position = self.param("pos_embed", zeros, (1, count, form.width))
        before_patches = jnp.concatenate(before, axis=1)
        placed = before_patches[:, : form.placed] + position[:, : form.placed]
        x = x + position[:, form.placed :]
        first = jnp.concatenate([placed, before_patches[:, form.placed :]], axis=1)
        first = jnp.broadcast_to(first, (x.shape[0], *first.shape[1:]))
        x = jnp.concatenate([first, x], axis=1)  # [B, 1 + registers + grid^2, D]
        for index in range(form.depth):
            x = _Block(form.scaled, name=f"blocks.{index}")(x)
        return _norm("norm")(x[:, 0])


def _norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(EPSILON, use_fast_variance=False, name=name)


def _attend(qkv: jax.Array) -> jax.Array:
    """Multi-head attention: float32[B, T, 3 D] -> [B, T, D]."""
    batch, tokens, triple = qkv.shape
    heads = qkv.reshape(batch, tokens, 3, triple // 3 // HEAD, HEAD)
    q, k, v = jnp.moveaxis(heads, 2, 0)  # [B, T, heads, HEAD]
    weight = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q / math.sqrt(HEAD), k))
    return jnp.einsum("bhqk,bkhd->bqhd", weight, v).reshape(batch, tokens, -1)


def _patches(images: jax.Array, form: Form) -> jax.Array:
    """float32[B, h, w, 3] -> [B, grid^2, patch patch 3]."""
    batch, grid, patch = images.shape[0], form.grid, form.patch
    x = images.reshape(batch, grid, patch, grid, patch, 3).swapaxes(2, 3)
    return x.reshape(batch, grid**2, -1)


def plain_names(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors by timm's names: DINOv2's chunks and registers are renamed."""
    return {
        _REGISTERS.get(name, _CHUNK.sub(r"blocks.\1.", name)): tensor
        for name, tensor in tensors.items()
    }


def form(tensors: Mapping[str, np.ndarray], where: str) -> Form:
    """What the network with these tensors, by `plain_names`, is like.

    Args:
      where: the file, for messages.

    Raises:
      InputError: a shape is not that of such a network.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    patches = shapes[ANCHOR]
    if len(patches) != 4 or patches[1] != 3 or patches[2] != patches[3]:
        raise errors.InputError(
            f"{ANCHOR} in {where} has the shape {list(patches)}, and not that of "
            "square patches of RGB images."
        )
    width, patch = patches[0], patches[2]
    if not width or width % HEAD or not patch:
        raise errors.InputError(
            f"{ANCHOR} in {where} has the shape {list(patches)}: its width must be a "
            f"multiple of {HEAD}, the width of an attention head."
        )
    registers = _length(shapes.get("reg_token", (1, 0, width)))
    positions = _length(shapes.get("pos_embed", (1, 0, width)))
    for placed in (1, 0, 1 + registers):
        grid = math.isqrt(max(positions - placed, 0))
        if grid and grid**2 + placed == positions:
            break
    else:
        raise errors.InputError(
            f"pos_embed in {where} has {positions} positions, and not those of a "
            "square of patches."
        )
    blocks = [_BLOCK.match(name) for name in tensors]
    depth = len({match[1] for match in blocks if match})
    scaled = "blocks.0.ls1.gamma" in tensors
    return Form(width, depth, patch, grid, registers, placed, scaled)


def _length(shape: tuple[int, ...]) -> int:
    return shape[1] if len(shape) == 3 else 0


def shapes(form: Form) -> dict[str, tuple[int, ...]]:
    """The tensors that a file of this form must have, in torch's layout."""
    width, hidden = form.width, _MLP * form.width
    linear = {
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        "mlp.fc1": (hidden, width),
        "mlp.fc2": (width, hidden),
    }
    needed: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, form.placed + form.grid**2, width),
        ANCHOR: (width, 3, form.patch, form.patch),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    if form.registers:
        needed["reg_token"] = (1, form.registers, width)
    for index in range(form.depth):
        block = f"blocks.{index}"
        for name in _INNER:
            weight = linear.get(name, (width,))
            needed[f"{block}.{name}.weight"] = weight
            needed[f"{block}.{name}.bias"] = weight[:1]
        if form.scaled:
            needed |= {f"{block}.{name}.gamma": (width,) for name in ("ls1", "ls2")}
    return needed


def variables(tensors: Mapping[str, np.ndarray], form: Form, grid: int) -> PyTree:
    """The variables of a `ViT` for images of grid x grid patches.

    Args:
      tensors: those of `shapes`, float32.
    """
    params: dict[str, PyTree] = {}
    for name in shapes(form):
        tensor, place = tensors[name], params
        block = _BLOCK.match(name)
        if block:
            place = params.setdefault(f"blocks.{block[1]}", {})
            name = name[block.end() :]
        module, _, leaf = name.rpartition(".")
        if leaf == "gamma" or not module:
            place[name] = tensor
            continue
        if "norm" in module and leaf == "weight":
            leaf = "scale"
        elif leaf == "weight":
            leaf, tensor = "kernel", _kernel(tensor)
        place.setdefault(module, {})[leaf] = tensor
    position = params["pos_embed"]
    before, patches = position[:, : form.placed], position[:, form.placed :]
    patches = _resized(patches, form.grid, grid)
    params["pos_embed"] = np.concatenate([before, patches], axis=1)
    return {"params": params}


def _kernel(weight: np.ndarray) -> np.ndarray:
    """Torch's layout to Flax's; the patches' is [D, 3, p, p]."""
    if weight.ndim == 4:
        return weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))
    return weight.T


def _resized(position: np.ndarray, old: int, new: int) -> np.ndarray:
    """float32[1, old^2, D] -> [1, new^2, D] by an anti-aliased bicubic filter."""
    if old == new:
        return position
    square = position.reshape(old, old, -1)
    shape = (new, new, square.shape[-1])
    resized = jax.image.resize(square, shape, "cubic", antialias=True)
    return np.asarray(resized).reshape(1, new**2, -1)
