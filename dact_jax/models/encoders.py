"""Encoders by name, with their options checked."""

from collections.abc import Sequence
from typing import get_args

import flax.linen as nn

from dact_jax import errors
from dact_jax.models import conv, lenet, mlp, resnet

RESNETS = {
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
}
IMPLEMENTATIONS = ("auto", *get_args(conv.Implementation))
ON_VECTORS = ("mlp",)  # encoders of vectors; all others encode images


def make(
    name: str,
    *,
    side: int,
    num_norms: int,
    implementation: conv.Implementation,
    variant: resnet.Variant = "torchvision",
    batch_norm: bool = False,
    dropout: float = 0.5,
    widths: Sequence[int] = (512,),
) -> nn.Module:
    """The encoder of that name.

    Args:
      name: "lenet", "mlp", or one of RESNETS.
      side: height and width of the images in pixels.
      num_norms: rows of the batch-norm collections: 1, or 2 for one per domain.
      implementation: of convolution and max-pooling.
      variant: of a ResNet.
      batch_norm: whether a LeNet or MLP has batch norm.
      dropout: rate in a LeNet or MLP.
      widths: output sizes of the layers of an MLP.

    Raises:
      InputError: an unknown name or value, or values that contradict each other.
    """
    errors.check_choice("model.encoder", name, ("lenet", "mlp", *RESNETS))
    errors.check_choice("model.convolution", implementation, IMPLEMENTATIONS)
    errors.check_choice("model.variant", variant, ("torchvision", "mme"))
    errors.check_choice("model.num_norms", num_norms, (1, 2))
    if name in RESNETS:
        return RESNETS[name](variant=variant, implementation=implementation)
    if num_norms > 1 and not batch_norm:
        raise errors.InputError(
            "model.num_norms=2 needs batch norm, which a LeNet or MLP has only with "
            "model.batch_norm=True."
        )
    if name == "mlp":
        _check_widths(widths)
        return mlp.MLP(tuple(widths), dropout, batch_norm)
    if side < lenet.MIN_SIDE:
        raise errors.InputError(
            f"data.crop={side} is too small for a LeNet; it must be at least "
            f"{lenet.MIN_SIDE} pixels."
        )
    return lenet.LeNet(
        dropout=dropout, batch_norm=batch_norm, implementation=implementation
    )


def _check_widths(widths: Sequence[object]) -> None:
    if not widths or not all(isinstance(w, int) and w > 0 for w in widths):
        raise errors.InputError(
            f"model.widths={tuple(widths)} must be one or more positive integers, such "
            "as (512,)."
        )
