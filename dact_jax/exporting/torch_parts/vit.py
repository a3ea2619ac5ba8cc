"""Vision transformers by timm's names."""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention; each head has 64 channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, D] -> [B, T, D]."""
        batch, tokens, width = x.shape
        heads = self.qkv(x).reshape(batch, tokens, 3, width // 64, 64)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each [B, heads, T, 64]
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(batch, tokens, width))


class Scale(nn.Module):
    """Layer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, D] -> [B, T, D]."""
        return x * self.gamma


class Block(nn.Module):
    """Attention and a perceptron, each with its shortcut."""

    def __init__(self, width: int, scaled: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, 1e-6) for _ in range(2))
        self.attn = Attention(width)
        self.mlp = nn.Module()
        self.mlp.fc1 = nn.Linear(width, 4 * width)
        self.mlp.fc2 = nn.Linear(4 * width, width)
        self.ls1 = Scale(width) if scaled else nn.Identity()
        self.ls2 = Scale(width) if scaled else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, D] -> [B, T, D]."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x)))))


class ViT(nn.Module):
    """A vision transformer; `placed` tokens before the patches have a position."""

    def __init__(
        self,
        width: int,
        depth: int,
        patch: int,
        grid: int,
        registers: int,
        placed: int,
        scaled: bool,
    ) -> None:
        super().__init__()
        self.placed = placed
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        if registers:
            self.reg_token = nn.Parameter(torch.zeros(1, registers, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, placed + grid**2, width))
        self.blocks = nn.Sequential(*(Block(width, scaled) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, 1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, 3, h, w] -> the embedding [B, D]."""
        patches = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        patches = patches + self.pos_embed[:, self.placed :]
        first = self.cls_token
        if hasattr(self, "reg_token"):
            first = torch.cat([first, self.reg_token], 1)
        placed = first[:, : self.placed] + self.pos_embed[:, : self.placed]
        first = torch.cat([placed, first[:, self.placed :]], 1)
        x = torch.cat([first.expand(len(x), -1, -1), patches], 1)
        return self.norm(self.blocks(x))[:, 0]
