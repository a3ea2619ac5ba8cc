"""ResNets by torchvision's names."""

import torch
from torch import nn
from torch.nn import functional as F

Layer = tuple[int, int, int]  # channels, kernel size, stride


class Residual(nn.Module):
    """relu(shortcut(x) + layers(x)), each layer a convolution and batch norm."""

    def __init__(self, inputs: int, layers: tuple[Layer, ...]) -> None:
        super().__init__()
        self.depth, channels, total = len(layers), inputs, 1
        for i, (width, size, stride) in enumerate(layers, 1):
            conv = nn.Conv2d(channels, width, size, stride, size // 2, bias=False)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(width))
            channels, total = width, total * stride
        self.downsample = nn.Sequential()
        if total > 1 or channels != inputs:
            conv = nn.Conv2d(inputs, channels, 1, total, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        y = x
        for i in range(1, self.depth + 1):
            y = self.get_submodule(f"conv{i}")(F.relu(y) if i > 1 else y)
            y = self.get_submodule(f"bn{i}")(y)
        return F.relu(self.downsample(x) + y)


class ResNet(nn.Module):
    """ResNet (He et al., CVPR 2016); `mme`: strides and pooling of MME's code."""

    def __init__(
        self, stages: tuple[int, ...], bottleneck: bool, mme: bool, channels: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 0 if mme else 1, ceil_mode=mme)
        inputs = 64
        for stage, count in enumerate(stages):
            blocks = []
            for index in range(count):
                width, stride = 64 * 2**stage, 2 if stage and not index else 1
                layers: tuple[Layer, ...] = (width, 3, stride), (width, 3, 1)
                if bottleneck:
                    first, second = (stride, 1) if mme else (1, stride)
                    layers = (width, 1, first), (width, 3, second), (4 * width, 1, 1)
                blocks.append(Residual(inputs, layers))
                inputs = layers[-1][0]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] -> the embedding [B, F]."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return x.mean((2, 3))
