"""A multilayer perceptron on vectors."""

import torch
from torch import nn
from torch.nn import functional as F


def unit(x: torch.Tensor) -> torch.Tensor:
    """[B, F], each row divided by its root mean square; rows of zeros are kept."""
    largest = x.abs().amax(1, keepdim=True)
    x = x / torch.where(largest == 0, 1.0, largest)
    rms = (x * x).mean(1, keepdim=True).sqrt()
    return x / torch.where(rms == 0, 1.0, rms)


class MLP(nn.Module):
    """Layers of a linear map, batch norm and ReLU."""

    def __init__(self, inputs: int, widths: tuple[int, ...], batch_norm: bool) -> None:
        super().__init__()
        self.depth = len(widths)
        for i, width in enumerate(widths, 1):
            self.add_module(f"fc{i}", nn.Linear(inputs, width))
            norm = nn.BatchNorm1d(width) if batch_norm else nn.Identity()
            self.add_module(f"norm{i}", norm)
            inputs = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, F] -> the embedding [B, F']."""
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"fc{i}")(x)
            x = F.relu(self.get_submodule(f"norm{i}")(x))
        return x
