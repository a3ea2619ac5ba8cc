"""EfficientNet-Lite0, with batch norm folded into the convolutions."""

import torch
from torch import nn
from torch.nn import functional as F


class Same(nn.Conv2d):
    """TensorFlow's padding: an odd zero comes at the bottom and right."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        pads = []
        for n in (x.shape[3], x.shape[2]):
            size, stride = self.kernel_size[0], self.stride[0]
            total = max((-(-n // stride) - 1) * stride + size - n, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


class Inverted(nn.Module):
    """An inverted residual block (Sandler et al., CVPR 2018)."""

    def __init__(
        self, inputs: int, outputs: int, size: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        width = expansion * inputs
        self.adds = stride == 1 and inputs == outputs
        self.expand = Same(inputs, width, 1) if expansion > 1 else None
        self.depthwise = Same(width, width, size, stride, groups=width)
        self.project = Same(width, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (Tan & Le, ICML 2019) without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        stages = (  # blocks, kernel size, stride, expansion, channels
            *((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80)),
            *((3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)),
        )
        blocks, inputs = [], 32
        for count, size, stride, expansion, outputs in stages:
            for index in range(count):
                step = 1 if index else stride
                blocks.append(Inverted(inputs, outputs, size, step, expansion))
                inputs = outputs
        self.stem = Same(3, 32, 3, 2)
        self.blocks = nn.Sequential(*blocks)
        self.head = Same(inputs, 1280, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, 3, h, w] -> the embedding [B, 1280]."""
        x = self.blocks(F.relu6(self.stem(x)))
        return F.relu6(self.head(x)).mean((2, 3))
