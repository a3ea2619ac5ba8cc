"""EfficientNet-Lite0 (Tan & Le, ICML 2019), frozen: a pretrained network for images.

It is not trained further, so batch norm is a part of the convolutions before it: their
weights are folded when they are read, and there are no rows for domains.
"""

import functools
import re
import types
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dact_jax.models import conv
from dact_jax.types import PyTree

SIDE, WIDTH = 224, 1280  # pixels of the input, numbers of the embedding
EPSILON = 1e-3  # of batch norm
STEM = 32  # channels
# What a file has beside the network: its classifier, and counters of training.
IGNORED = re.compile(r"^_fc\.(weight|bias)$|\.num_batches_tracked$")


class Stage(NamedTuple):
    blocks: int
    kernel: int  # height and width of its depthwise convolutions
    stride: int  # of the first block
    expansion: int  # channels inside a block, as a multiple of those it takes
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class Layer(NamedTuple):
    """A convolution of the network, with the batch norm that follows it."""

    name: str  # of its kernel and bias in the variables
    conv: str  # of its weight in a file
    norm: str


class Depthwise(nn.Module):
    """Depthwise convolution with bias; kernel float32[k, k, 1, C]."""

    size: int
    stride: int
    implementation: conv.Implementation = "stock"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """float32[B, H, W, C] -> float32[B, H', W', C]."""
        channels, init = x.shape[-1], conv.uniform(self.size**2)
        kernel = self.param("kernel", init, (self.size, self.size, 1, channels))
        bias = self.param("bias", init, (channels,))
        y = conv.depthwise(
            x,
            kernel,
            strides=(self.stride, self.stride),
            padding=_same(x.shape, self.size, self.stride),
            implementation=self.implementation,
        )
        return y + bias[None, None, None]


class EfficientNetLite0(nn.Module):
    """The embedding is the spatial mean of the last layer.

    Attributes:
      implementation: of the convolutions.
    """

    implementation: conv.Implementation = "stock"

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """float32[B, 224, 224, 3] -> float32[B, 1280]."""
        x = nn.relu6(self._conv(images, STEM, 3, 2, "stem"))
        number = 0
        for stage in STAGES:
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                y = self._block(x, stage, stride, f"block{number}")
                x = x + y if x.shape == y.shape else y
                number += 1
        return nn.relu6(self._conv(x, WIDTH, 1, 1, "head")).mean((1, 2))

    def _block(self, x: jax.Array, stage: Stage, stride: int, name: str) -> jax.Array:
        """Inverted residual (Sandler et al., CVPR 2018), without the shortcut."""
        if stage.expansion > 1:
            width = stage.expansion * x.shape[-1]
            x = nn.relu6(self._conv(x, width, 1, 1, f"{name}_expand"))
        depthwise = Depthwise(
            stage.kernel, stride, self.implementation, name=f"{name}_depthwise"
        )
        return self._conv(
            nn.relu6(depthwise(x)), stage.channels, 1, 1, f"{name}_project"
        )

    def _conv(
        self, x: jax.Array, channels: int, size: int, stride: int, name: str
    ) -> jax.Array:
        layer = conv.Conv(
            channels,
            (size, size),
            (stride, stride),
            _same(x.shape, size, stride),
            implementation=self.implementation,
            name=name,
        )
        return layer(x)


def layers() -> list[Layer]:
    """The convolutions in their order, with their names in torch's files."""
    found = [Layer("stem", "_conv_stem", "_bn0")]
    expansions = [stage.expansion for stage in STAGES for _ in range(stage.blocks)]
    for number, expansion in enumerate(expansions):
        here, there = f"block{number}", f"_blocks.{number}."
        if expansion > 1:
            found.append(
                Layer(f"{here}_expand", f"{there}_expand_conv", f"{there}_bn0")
            )
        found += [
            Layer(f"{here}_depthwise", f"{there}_depthwise_conv", f"{there}_bn1"),
            Layer(f"{here}_project", f"{there}_project_conv", f"{there}_bn2"),
        ]
    return [*found, Layer("head", "_conv_head", "_bn1")]


@functools.cache
def shapes() -> Mapping[str, tuple[int, ...]]:
    """The tensors that a file must have, by torch's names, with torch's shapes."""
    variables = jax.eval_shape(
        EfficientNetLite0().init, jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3))
    )
    needed = {}
    for layer in layers():
        kernel = variables["params"][layer.name]["kernel"].shape
        needed[f"{layer.conv}.weight"] = (*reversed(kernel[2:]), *kernel[:2])
        for part in ("weight", "bias", "running_mean", "running_var"):
            needed[f"{layer.norm}.{part}"] = kernel[-1:]
    return types.MappingProxyType(needed)


def variables(tensors: Mapping[str, np.ndarray]) -> PyTree:
    """The variables of the network, with batch norm folded into the convolutions.

    Args:
      tensors: those of `shapes`, float32.
    """
    params = {}
    for layer in layers():
        weight, bias, mean, variance = (
            tensors[f"{layer.norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / np.sqrt(variance + EPSILON)
        kernel = tensors[f"{layer.conv}.weight"].transpose(2, 3, 1, 0) * scale
        params[layer.name] = {
            "kernel": kernel.astype(np.float32),
            "bias": (bias - mean * scale).astype(np.float32),
        }
    return {"params": params}


def _same(shape: tuple[int, ...], size: int, stride: int) -> conv.Padding:
    """TensorFlow's padding: the odd zero comes at the bottom and right."""
    sides = (max((-(-n // stride) - 1) * stride + size - n, 0) for n in shape[1:3])
    top, left = ((total // 2, total - total // 2) for total in sides)
    return top, left
