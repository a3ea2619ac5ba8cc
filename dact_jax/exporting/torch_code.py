"""The text of network.py: the network of a description in plain PyTorch."""

import ast
from importlib import resources

from dact_jax.exporting.description import Description, Part
from dact_jax.models import heads

# Class of a part -> the module of `torch_parts` that has it.
_MODULES = {
    "ResNet": "resnet",
    "LeNet": "lenet",
    "MLP": "mlp",
    "EfficientNetLite0": "efficientnet",
    "ViT": "vit",
    "Cosine": "heads",
    "TwoLayer": "heads",
}
_BEGINNING = '''"""The network of model.safetensors in plain PyTorch."""

import torch
from torch import nn
from torch.nn import functional as F
'''


def text(network: Description) -> str:
    """A module with the class Network: pixels or vectors in, logits out."""
    parts = [network.backbone, network.encoder, network.head]
    names = dict.fromkeys(_MODULES[p.kind] for p in parts if p and p.kind in _MODULES)
    return "\n\n".join([_BEGINNING, *map(_classes, names), _network(network)])


def _classes(module: str) -> str:
    """What a module of `torch_parts` defines, without its docstring and imports."""
    files = resources.files("dact_jax.exporting.torch_parts")
    source = files.joinpath(f"{module}.py").read_text(encoding="utf-8")
    skipped = (ast.Expr, ast.Import, ast.ImportFrom)
    first = next(x for x in ast.parse(source).body if not isinstance(x, skipped))
    return "\n".join(source.splitlines()[first.lineno - 1 :]) + "\n"


def _network(network: Description) -> str:
    made = [f"super().__init__({_arguments(network.encoder)})"]
    if network.backbone is not None:
        made.append(f"self.backbone = {_call(network.backbone)}")
    if network.bottleneck is not None:
        made.append(f"self.{heads.BOTTLENECK} = {_call(network.bottleneck)}")
    made.append(f"self.{network.head_name} = {_call(network.head)}")
    lines = "\n".join(
        [
            f"class Network({network.encoder.kind}):",
            f'    """{_about(network)}"""',
            "",
            "    def __init__(self) -> None:",
            *(f"        {line}" for line in made),
            "",
            "    def embed(self, x: torch.Tensor) -> torch.Tensor:",
            f'        """{_input(network)} -> the embedding."""',
            *(f"        {line}" for line in _steps(network)),
            "",
            "    def forward(self, x: torch.Tensor) -> torch.Tensor:",
            f'        """{_input(network)} -> logits [B, {network.num_classes}]."""',
            f"        return self.{network.head_name}(self.embed(x))",
        ]
    )
    return f"{lines}\n"


def _about(network: Description) -> str:
    backbone = f"{network.backbone.kind}, " if network.backbone else ""
    return f"{backbone}{network.encoder.kind} and classifier, each part by its name."


def _input(network: Description) -> str:
    if network.pixels is None:
        return f"Vectors [B, {network.width}]"
    side, channels = network.pixels.side, network.pixels.channels
    return f"Pixels 0..255 [B, {channels}, {side}, {side}]"


def _steps(network: Description) -> list[str]:
    """From the input to the embedding."""
    lines = ["x = x.float()"]
    if (pixels := network.pixels) is not None:
        begin = round((pixels.side - pixels.crop) / 2)
        if pixels.crop < pixels.side:
            rows = f"{begin} : {begin + pixels.crop}"
            lines.append(f"x = x[:, :, {rows}, {rows}]")
        for name, values in (("mean", pixels.mean), ("std", pixels.std)):
            tensor = f"torch.tensor({list(values)}, device=x.device)"
            lines.append(f"{name} = {tensor}[:, None, None]")
        lines.append("x = (x - mean) / std")
    if network.backbone is not None:
        lines.append("x = self.backbone(x)")
    if network.unit:
        lines.append("x = unit(x)")
    lines.append("x = super().forward(x)")
    if network.bottleneck is not None:
        lines.append(f"x = self.{heads.BOTTLENECK}(x)")
    if network.rectified:
        lines.append("x = F.relu(x)")
    return [*lines, "return x"]


def _call(part: Part) -> str:
    if part.kind == "Linear":
        return f"nn.Linear({part.options['inputs']}, {part.options['outputs']})"
    return f"{part.kind}({_arguments(part)})"


def _arguments(part: Part) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in part.options.items())
