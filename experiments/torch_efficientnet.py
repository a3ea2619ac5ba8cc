"""EfficientNet-Lite0 in PyTorch, made as fast as its usual means allow."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dact_jax.models.frozen import efficientnet


def embedder(tensors: Mapping[str, np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """uint8[B, 224, 224, 3] -> float32[B, 1280].

    Batch norm is folded into the convolutions, memory is channels-last, and nothing is
    recorded for gradients.

    Args:
      tensors: of the file, by its names.
    """
    import torch

    params = efficientnet.variables(tensors)["params"]
    weights = {
        name: (_kernel(torch, layer["kernel"]), torch.from_numpy(layer["bias"]))
        for name, layer in params.items()
    }

    def embed(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            x = torch.from_numpy(images).permute(0, 3, 1, 2)  # channels-last as it is
            return _forward(torch, weights, x.float().sub_(127).div_(128)).numpy()

    return embed


def _kernel(torch: Any, kernel: np.ndarray) -> Any:
    weight = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
    return weight.contiguous(memory_format=torch.channels_last)


def _forward(torch: Any, weights: Mapping[str, Any], x: Any) -> Any:
    x = _convolve(torch, weights["stem"], x, stride=2).clamp_(0, 6)
    number = 0
    for stage in efficientnet.STAGES:
        for index in range(stage.blocks):
            y, name = x, f"block{number}"
            if stage.expansion > 1:
                y = _convolve(torch, weights[f"{name}_expand"], y).clamp_(0, 6)
            stride = stage.stride if index == 0 else 1
            depthwise = weights[f"{name}_depthwise"]
            y = _convolve(torch, depthwise, y, stride=stride, groups=y.shape[1])
            y = _convolve(torch, weights[f"{name}_project"], y.clamp_(0, 6))
            x = x + y if x.shape == y.shape else y
            number += 1
    return _convolve(torch, weights["head"], x).clamp_(0, 6).mean((2, 3))


def _convolve(
    torch: Any, layer: tuple[Any, Any], x: Any, *, stride: int = 1, groups: int = 1
) -> Any:
    """TensorFlow's padding, which torch pads itself where it is symmetric."""
    kernel, bias = layer
    size = kernel.shape[-1]
    padding = size // 2
    if stride > 1:
        sides = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[2:]]
        top, left = (total // 2 for total in sides)
        pads = (left, sides[1] - left, top, sides[0] - top)
        x, padding = torch.nn.functional.pad(x, pads), 0
    return torch.nn.functional.conv2d(
        x, kernel, bias, stride=stride, padding=padding, groups=groups
    )
