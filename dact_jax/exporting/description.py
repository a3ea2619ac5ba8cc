"""What a classifier consists of: parts with their options, and torch's tensors.

All formats but StableHLO and NumPy are written from this description.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from dact_jax import errors
from dact_jax.classifier import Classifier
from dact_jax.configuration import build
from dact_jax.data.readers.decoding import Filter
from dact_jax.exporting import tensors
from dact_jax.models import encoders, heads, resnet
from dact_jax.models.backbones import EFFICIENTNET, Backbone

OTHER_FORMATS = "give --format=stablehlo or --format=npz, which hold any network"


class Pixels(NamedTuple):
    """How images become input of the first network."""

    side: int  # images are resized to side x side pixels, nothing is cut off
    crop: int  # of their center, in pixels
    channels: int
    filter: Filter  # that resizes, anti-aliased
    mean: tuple[float, ...]  # the network sees (pixel - mean) / std, pixels 0..255
    std: tuple[float, ...]


class Part(NamedTuple):
    """A network or a head: the name of its class in `torch_parts`, and arguments."""

    kind: str
    options: Mapping[str, Any]


class Description(NamedTuple):
    pixels: Pixels | None  # None: the input is vectors
    width: int  # of the vectors that the encoder or, without them, the user gives
    backbone: Part | None  # turns pixels into vectors
    unit: bool  # whether each vector is divided by its root mean square
    encoder: Part
    bottleneck: Part | None
    rectified: bool  # whether a ReLU follows the bottleneck
    head: Part
    head_name: str  # begins the names of its tensors
    num_classes: int
    tensors: dict[str, np.ndarray]  # float32, by torch's names, in torch's layouts


def pixels(classifier: Classifier) -> Pixels | None:
    """How a classifier sees images; None: it sees vectors."""
    side, _, channels = classifier.image_shape
    if (backbone := classifier.backbone) is not None:
        form = backbone.side, backbone.side, 3, backbone.filter
        return Pixels(*form, tuple(backbone.mean), tuple(backbone.std))
    if classifier.network.on_vectors:
        return None
    data = classifier.config.data
    mean, std = ([255 * float(value) for value in v] for v in (data.mean, data.std))
    form = side, data.crop, channels, "bilinear"
    return Pixels(*form, tuple(mean), tuple(std))


def describe(classifier: Classifier) -> Description:
    """The parts and tensors of a classifier.

    Raises:
      InputError: it has a part that only StableHLO and NumPy can hold.
    """
    config, num_classes = classifier.config, len(classifier.class_names)
    method = build.make_method(config, num_classes)
    encoder = _encoder(classifier)
    name = "fc" if encoder.kind == "ResNet" else "classifier"
    found = tensors.of(classifier, encoder.kind, name)
    middle = method.heads.get(heads.BOTTLENECK)
    width = _width(found, name)
    return Description(
        pixels=pixels(classifier),
        width=classifier.image_shape[-1] if classifier.network.on_vectors else 0,
        backbone=_backbone(classifier.backbone),
        unit=classifier.network.on_vectors and config.data.scale == "unit",
        encoder=encoder,
        bottleneck=_bottleneck(middle, found),
        rectified=isinstance(middle, heads.Bottleneck) and middle.rectify,
        head=_head(method.heads[heads.CLASSIFIER], width, num_classes, found, name),
        head_name=name,
        num_classes=num_classes,
        tensors=found,
    )


def _width(found: Mapping[str, np.ndarray], head: str) -> int:
    """Numbers that the head reads."""
    first = f"{head}.weight" if f"{head}.weight" in found else f"{head}.fc1.weight"
    return found[first].shape[1] if first in found else 0


def _encoder(classifier: Classifier) -> Part:
    options, channels = classifier.config.model, classifier.image_shape[-1]
    name = options.encoder
    if name in encoders.RESNETS:
        return _resnet(name, options.variant == "mme", channels)
    params = classifier.variables.params["encoder"]
    if name == "lenet":
        flat, width = params["fc1"]["kernel"].shape
        form = {"channels": channels, "flat": flat, "width": width}
        return Part("LeNet", {**form, "batch_norm": bool(options.batch_norm)})
    if name == "mlp":
        form = {"inputs": channels, "widths": tuple(options.widths)}
        return Part("MLP", {**form, "batch_norm": bool(options.batch_norm)})
    raise errors.InputError(f"model.encoder={name!r} has no PyTorch: {OTHER_FORMATS}.")


def _resnet(name: str, mme: bool, channels: int) -> Part:
    stages, block = encoders.RESNETS[name].args
    form = {"stages": stages, "bottleneck": block is resnet.bottleneck}
    return Part("ResNet", {**form, "mme": mme, "channels": channels})


def _backbone(backbone: Backbone | None) -> Part | None:
    if backbone is None:
        return None
    if backbone.name == EFFICIENTNET:
        return Part("EfficientNetLite0", {})
    if backbone.name in encoders.RESNETS:
        return _resnet(backbone.name, False, 3)
    if backbone.name.startswith("vit_"):
        return Part("ViT", vit_form(backbone))
    raise errors.InputError(
        f"the backbone {backbone.name} has no PyTorch: {OTHER_FORMATS}."
    )


def vit_form(backbone: Backbone) -> dict[str, Any]:
    """The options of a ViT, read from its variables."""
    params = backbone.variables["params"]
    patch = math.isqrt(params["patch_embed.proj"]["kernel"].shape[0] // 3)
    grid = backbone.side // patch
    blocks = [name for name in params if name.startswith("blocks.")]
    registers = params["reg_token"].shape[1] if "reg_token" in params else 0
    return {
        "width": backbone.width,
        "depth": len(blocks),
        "patch": patch,
        "grid": grid,
        "registers": registers,
        "placed": params["pos_embed"].shape[1] - grid**2,
        "scaled": "ls1.gamma" in params["blocks.0"],
    }


def _bottleneck(head: nn.Module | None, found: Mapping[str, np.ndarray]) -> Part | None:
    if head is None:
        return None
    if not isinstance(head, heads.Bottleneck):
        raise errors.InputError(_unknown(head))
    outputs, inputs = found[f"{heads.BOTTLENECK}.weight"].shape
    return Part("Linear", {"inputs": inputs, "outputs": outputs})


def _head(
    head: nn.Module,
    width: int,
    num_classes: int,
    found: Mapping[str, np.ndarray],
    name: str,
) -> Part:
    form: dict[str, Any] = {"inputs": width, "outputs": num_classes}
    if isinstance(head, heads.Linear):
        return Part("Linear", form)
    if isinstance(head, heads.Cosine):
        return Part("Cosine", {**form, "temperature": head.temperature})
    if isinstance(head, heads.TwoLayer):
        inner = len(found[f"{name}.fc1.weight"])
        form = {"inputs": width, "width": inner, "outputs": num_classes}
        return Part("TwoLayer", {**form, "temperature": head.temperature})
    raise errors.InputError(_unknown(head))


def _unknown(head: nn.Module) -> str:
    return f"the head {type(head).__name__} has no PyTorch: {OTHER_FORMATS}."
