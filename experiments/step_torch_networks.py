"""The networks of `step_torch`: LeNet and ResNets with batch norm by domain, heads."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from experiments.step_case import NUM_CLASSES, Case

_STAGES = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
}


class Norm(nn.Module):
    """Batch norm with terms and moments for each domain."""

    def __init__(self, channels: int, domains: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(domains))

    def forward(self, x: Any, domain: int) -> Any:
        """The norm of the domain."""
        return self.each[domain](x)


class LeNet(nn.Module):
    """CLUE's LeNet, with batch norm after the convolutions if there are domains."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(case.channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.norms = nn.ModuleList(
            Norm(width, case.norms) for width in (20, 50) if case.batch_norm
        )
        left = ((case.side - 4) // 2 - 4) // 2
        self.fc = nn.Linear(50 * left**2, 500)

    def forward(self, x: Any, domain: int) -> Any:
        """Images [B, C, h, w] to [B, 500]."""
        x = self.conv1(x)
        if self.norms:
            x = self.norms[0](x, domain)
        x = self.conv2(F.relu(F.max_pool2d(x, 2)))
        if self.norms:
            x = self.norms[1](x, domain)
        x = F.relu(F.max_pool2d(F.dropout2d(x, 0.5, self.training), 2))
        return F.dropout(F.relu(self.fc(x.flatten(1))), 0.5, self.training)


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1."""

    def __init__(
        self, inputs: int, width: int, stride: int, *, deep: bool, domains: int
    ) -> None:
        super().__init__()
        outputs = 4 * width if deep else width
        layers = [(inputs, width, 3, stride), (width, width, 3, 1)]
        if deep:
            layers = [
                (inputs, width, 1, 1),
                (width, width, 3, stride),
                (width, outputs, 1, 1),
            ]
        self.convs = nn.ModuleList(_conv(*layer) for layer in layers)
        self.norms = nn.ModuleList(Norm(layer[1], domains) for layer in layers)
        self.shortcut = None
        if stride > 1 or inputs != outputs:
            self.shortcut = _conv(inputs, outputs, 1, stride)
            self.shortcut_norm = Norm(outputs, domains)

    def forward(self, x: Any, domain: int) -> Any:
        """relu(shortcut(x) + layers(x))."""
        y = x
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(F.relu(y) if index else y), domain)
        if self.shortcut is not None:
            x = self.shortcut_norm(self.shortcut(x), domain)
        return F.relu(x + y)


class ResNet(nn.Module):
    """torchvision's ResNet without its classifier, with batch norm by domain."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        deep = case.backbone == "resnet50"
        self.conv = nn.Conv2d(case.channels, 64, 7, 2, 3, bias=False)
        self.norm = Norm(64, case.norms)
        blocks, inputs = [], 64
        for stage, count in enumerate(_STAGES[case.backbone]):
            width = 64 * 2**stage
            for index in range(count):
                stride = 2 if stage and not index else 1
                blocks.append(
                    Block(inputs, width, stride, deep=deep, domains=case.norms)
                )
                inputs = 4 * width if deep else width
        self.blocks = nn.ModuleList(blocks)
        self.width = inputs

    def forward(self, x: Any, domain: int) -> Any:
        """Images [B, C, h, w] to [B, width]."""
        x = F.relu(self.norm(self.conv(x), domain))
        x = F.max_pool2d(x, 3, 2, 1)
        for block in self.blocks:
            x = block(x, domain)
        return x.mean((2, 3))


class Classifier(nn.Module):
    """A bottleneck, if it has a width, and a linear or a cosine classifier."""

    def __init__(self, width: int, bottleneck: int, head: str | None) -> None:
        super().__init__()
        self.cosine = head is not None
        self.bottleneck = nn.Linear(width, bottleneck) if bottleneck else nn.Identity()
        inputs = bottleneck or width
        self.first = nn.Identity()
        if head == "two_layer":
            self.first, inputs = nn.Linear(inputs, 512), 512
        self.last = nn.Linear(inputs, NUM_CLASSES, bias=not self.cosine)

    def embed(self, features: Any) -> Any:
        """What the other heads read."""
        return self.bottleneck(features)

    def classify(self, features: Any, strength: float | None = None) -> Any:
        """Logits; a strength reverses the gradient before the last layer."""
        x = self.first(features)
        x = x if strength is None else reverse(x, strength)
        if not self.cosine:
            return self.last(x)
        return self.last(F.normalize(x)) / 0.05

    def forward(self, features: Any, strength: float | None = None) -> Any:
        """Features to logits."""
        return self.classify(self.embed(features), strength)


class Discriminator(nn.Sequential):
    """Two hidden layers with ReLU and dropout."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Linear(inputs, 1024),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(1024, 1024),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(1024, outputs),
        )


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, strength: float) -> Any:  # type: ignore[override]
        context.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:  # type: ignore[override]
        return -context.strength * gradient, None


def reverse(x: Any, strength: float) -> Any:
    """The identity, whose gradient is multiplied by -strength."""
    return _Reverse.apply(x, strength)


def encoder(case: Case) -> tuple[Any, int]:
    """The encoder of a case, and the width of its features."""
    if case.backbone == "lenet":
        return LeNet(case), 500
    network = ResNet(case)
    return network, network.width


def _conv(inputs: int, outputs: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
