"""ResNet (He et al., CVPR 2016), as in torchvision or as in MME's code."""

import functools
import math
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dact_jax.models import conv, norm

Variant = Literal["torchvision", "mme"]
Layer = tuple[int, int, int]  # channels, kernel size, stride


def basic(width: int, stride: int, variant: Variant) -> tuple[Layer, ...]:
    """Two 3x3 convolutions."""
    del variant
    return (width, 3, stride), (width, 3, 1)


def bottleneck(width: int, stride: int, variant: Variant) -> tuple[Layer, ...]:
    """1x1, 3x3, 1x1; torchvision strides in the 3x3, MME's code in the first 1x1."""
    first, second = (stride, 1) if variant == "mme" else (1, stride)
    return (width, 1, first), (width, 3, second), (4 * width, 1, 1)


class Residual(nn.Module):
    """relu(shortcut(x) + layers(x)).

    The shortcut is the identity, or a 1x1 convolution and norm where shapes differ.

    Attributes:
      layers: convolutions, each followed by norm and, except the last, by ReLU.
      conv: returns a convolution for (channels, kernel size, strides, padding).
      norm: returns a norm layer.
    """

    layers: tuple[Layer, ...]
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """float[B, H, W, C] -> float[B, H', W', C']."""
        y = x
        for index, (channels, size, stride) in enumerate(self.layers, 1):
            if index > 1:
                y = nn.relu(y)
            y = _convolve(self.conv, y, channels, size, stride, f"conv{index}")
            y = self.norm(name=f"bn{index}")(y, train=train)
        if x.shape != y.shape:
            stride = math.prod(stride for _, _, stride in self.layers)
            x = _convolve(self.conv, x, y.shape[-1], 1, stride, "downsample_conv")
            x = self.norm(name="downsample_bn")(x, train=train)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Residual network; the embedding is the spatial mean of the last stage.

    Attributes:
      stage_sizes: number of blocks in each stage.
      block: `basic` or `bottleneck`.
      variant: "mme" pads the pooling after the stem only at the bottom and right, and
        places strides as described in `bottleneck`. Both variants can load
        torchvision's weights.
      implementation: of convolution and max-pooling.
    """

    stage_sizes: tuple[int, ...]
    block: Callable[[int, int, Variant], tuple[Layer, ...]]
    variant: Variant = "torchvision"
    implementation: conv.Implementation = "stock"

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """float[B, h, w, C] -> embedding float32[B, F], taps float32[B, C_l].

        Taps are the spatial means of the stages; the last is the embedding.
        """
        layer = functools.partial(
            conv.Conv,
            use_bias=False,
            kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
            implementation=self.implementation,
        )
        x = _convolve(layer, images, 64, 7, 2, "conv1")
        x = nn.relu(norm.BatchNorm(name="bn1")(x, train=train))
        x = conv.max_pool(
            x,
            window=(3, 3),
            strides=(2, 2),
            padding=_pool_padding(x.shape, self.variant),
            implementation=self.implementation,
        )
        taps = []
        for stage, blocks in enumerate(self.stage_sizes):
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                x = Residual(
                    self.block(64 * 2**stage, stride, self.variant),
                    layer,
                    norm.BatchNorm,
                    name=f"layer{stage + 1}_{index}",
                )(x, train=train)
            self.sow("intermediates", "maps", x)
            taps.append(x.mean((1, 2), dtype=jnp.float32))
        return taps[-1], tuple(taps)


resnet18 = functools.partial(ResNet, (2, 2, 2, 2), basic)
resnet34 = functools.partial(ResNet, (3, 4, 6, 3), basic)
resnet50 = functools.partial(ResNet, (3, 4, 6, 3), bottleneck)


def _convolve(
    layer: Callable[..., nn.Module],
    x: jax.Array,
    channels: int,
    size: int,
    stride: int,
    name: str,
) -> jax.Array:
    """Convolution with a square kernel and torch's padding=size//2.

    Becomes a submodule of the calling module.
    """
    pad = (size // 2, size // 2)
    return layer(channels, (size, size), (stride, stride), (pad, pad), name=name)(x)


def _pool_padding(shape: tuple[int, ...], variant: Variant) -> conv.Padding:
    """Padding of the pooling with window 3 and stride 2 after the stem.

    MME's code uses torch's ceil_mode: the last window may reach beyond the image.
    """
    if variant == "torchvision":
        return (1, 1), (1, 1)
    _, height, width, _ = shape
    return (0, (height - 3) % 2), (0, (width - 3) % 2)
