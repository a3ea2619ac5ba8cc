"""Classifiers on an embedding."""

import torch
from torch import nn
from torch.nn import functional as F


class Cosine(nn.Linear):
    """W f/||f|| / T."""

    def __init__(self, inputs: int, outputs: int, temperature: float) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.temperature = temperature

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, F] -> logits [B, K]."""
        return super().forward(F.normalize(x, dim=1)) / self.temperature


class TwoLayer(nn.Module):
    """W2 g/||g|| / T with g = W1 f + b1."""

    def __init__(
        self, inputs: int, width: int, outputs: int, temperature: float
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, width)
        self.fc2 = Cosine(width, outputs, temperature)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, F] -> logits [B, K]."""
        return self.fc2(self.fc1(x))
