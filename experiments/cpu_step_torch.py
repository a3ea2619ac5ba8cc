"""The iteration of MME that `bench_cpu_step` times, in torch, channels last.

The networks are those of `dact_jax.models`, layer by layer; the losses and the
optimizer those of `dact_jax.methods.mme` and its recipe.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

TEMPERATURE, WEIGHT = 0.05, 0.1
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


class _Reverse(torch.autograd.Function):
    """The identity, with the opposite gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return -grad


class _LeNet(nn.Module):
    """As `models.lenet` without batch norm."""

    def __init__(self, channels: int, side: int):
        super().__init__()
        left = ((side - 4) // 2 - 4) // 2
        self.conv1 = nn.Conv2d(channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * left * left, 500)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(functional.max_pool2d(self.conv1(x), 2))
        x = functional.dropout2d(self.conv2(x), 0.5)
        x = functional.relu(functional.max_pool2d(x, 2))
        return functional.dropout(functional.relu(self.fc1(x.flatten(1))), 0.5)


class _Residual(nn.Module):
    """As `models.resnet.Residual`; layers are (channels, kernel size, stride)."""

    def __init__(self, inputs: int, layers: tuple[tuple[int, int, int], ...]):
        super().__init__()
        parts: list[nn.Module] = []
        channels, stride = inputs, 1
        for width, size, step in layers:
            parts += [_convolution(channels, width, size, step), nn.BatchNorm2d(width)]
            parts += [nn.ReLU()]
            channels, stride = width, stride * step
        self.layers = nn.Sequential(*parts[:-1])
        self.shortcut: nn.Module = nn.Identity()
        if (inputs, 1) != (channels, stride):
            self.shortcut = nn.Sequential(
                _convolution(inputs, channels, 1, stride), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.shortcut(x) + self.layers(x))


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


def _resnet(name: str, channels: int) -> nn.Module:
    """As `models.resnet`, torchvision's variant."""
    parts: list[nn.Module] = [_convolution(channels, 64, 7, 2), nn.BatchNorm2d(64)]
    parts += [nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, blocks in enumerate(BLOCKS[name]):
        for index in range(blocks):
            width, stride = 64 * 2**stage, 2 if stage and not index else 1
            layers = ((width, 3, stride), (width, 3, 1))
            if name == "resnet50":
                layers = ((width, 1, 1), (width, 3, stride), (4 * width, 1, 1))
            parts.append(_Residual(inputs, layers))
            inputs = layers[-1][0]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _classify(
    encoder: nn.Module, head: nn.ModuleList, images: torch.Tensor, reverse: bool
) -> torch.Tensor:
    """Logits of MME's classifier: of one layer on a LeNet, of two on a ResNet."""
    x = encoder(images)
    for layer in head[:-1]:
        x = layer(x)
    if reverse:
        x = _Reverse.apply(x)
    return head[-1](functional.normalize(x)) / TEMPERATURE


def make(job: Mapping[str, Any], batch: Mapping[str, np.ndarray]) -> Callable[[], None]:
    """A function that does the iterations of a call.

    Args:
      job: of `bench_cpu_step`.
      batch: of `cpu_step_process.draw`.
    """
    torch.manual_seed(0)
    lenet = job["encoder"] == "lenet"
    encoder = (
        _LeNet(job["channels"], job["side"])
        if lenet
        else _resnet(job["encoder"], job["channels"])
    )
    width = {"lenet": 500, "resnet18": 512, "resnet50": 2048}[job["encoder"]]
    classifier = nn.Linear(width if lenet else 512, job["classes"], bias=False)
    head = nn.ModuleList([classifier] if lenet else [nn.Linear(width, 512), classifier])
    encoder = encoder.to(memory_format=torch.channels_last)
    descent = torch.optim.SGD(
        [*encoder.parameters(), *head.parameters()],
        lr=job["learning_rate"],
        momentum=0.9,
        weight_decay=5e-4,
        nesterov=True,
    )
    images = {
        name: torch.from_numpy(batch[name]).permute(0, 1, 4, 2, 3)
        for name in ("source", "target", "unlabeled")
    }
    label = torch.from_numpy(batch["label"]).long()

    def train() -> None:
        for i in range(job["chunk"]):
            both = torch.cat([images["source"][i], images["target"][i]])
            descent.zero_grad()
            logits = _classify(encoder, head, both, reverse=False)
            functional.cross_entropy(logits, label[i].repeat(2)).backward()
            descent.step()
            descent.zero_grad()
            logits = _classify(encoder, head, images["unlabeled"][i], reverse=True)
            log = functional.log_softmax(logits, 1)
            (WEIGHT * (log.exp() * log).sum(1).mean()).backward()
            descent.step()

    return train
