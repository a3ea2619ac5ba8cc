"""The LeNet for digits of CLUE."""

import torch
from torch import nn
from torch.nn import functional as F


class LeNet(nn.Module):
    """Two 5x5 convolutions with pooling, and a fully connected layer."""

    def __init__(self, channels: int, flat: int, width: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, 20, 5), nn.Conv2d(20, 50, 5)
        if batch_norm:
            self.norm1, self.norm2 = nn.BatchNorm2d(20), nn.BatchNorm2d(50)
        else:
            self.norm1 = self.norm2 = nn.Identity()
        self.fc1 = nn.Linear(flat, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, h, w] -> the embedding [B, F]."""
        x = F.relu(F.max_pool2d(self.norm1(self.conv1(x)), 2))
        x = F.relu(F.max_pool2d(self.norm2(self.conv2(x)), 2))
        return F.relu(self.fc1(x.flatten(1)))
