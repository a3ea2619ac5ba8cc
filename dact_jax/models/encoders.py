"""Encoders by name."""

import flax.linen as nn

from dact_jax import errors
from dact_jax.models import conv, lenet, resnet

RESNETS = {
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
}


def make(
    name: str,
    *,
    side: int,
    num_norms: int,
    formulation: conv.Formulation,
    variant: resnet.Variant = "torchvision",
    batch_norm: bool = False,
    dropout: float = 0.5,
) -> nn.Module:
    """The encoder of that name.

    Args:
      name: "lenet", or one of RESNETS.
      side: height and width of its images, in pixels.
      num_norms: rows of batch-norm terms: 1, or 2 for a row a domain.
      formulation: of convolutions, "stock" or "tiled".
      variant: of a ResNet, "torchvision" or "mme".
      batch_norm: whether a LeNet has batch norm.
      dropout: rate in a LeNet.

    Raises:
      InputError: an unknown name or value, or one that does not fit the others.
    """
    _check("model.encoder", name, ("lenet", *RESNETS))
    _check("model.convolution", formulation, ("auto", "stock", "tiled"))
    _check("model.variant", variant, ("torchvision", "mme"))
    _check("model.num_norms", num_norms, (1, 2))
    if name != "lenet":
        return RESNETS[name](variant=variant, formulation=formulation)
    if num_norms > 1 and not batch_norm:
        raise errors.InputError(
            "model.num_norms=2 has nothing to split in a LeNet without batch norm: "
            "set model.batch_norm=True."
        )
    if side < lenet.SMALLEST:
        raise errors.InputError(
            f"data.crop={side} is too small for a LeNet: give {lenet.SMALLEST} pixels "
            "or more."
        )
    return lenet.LeNet(dropout=dropout, batch_norm=batch_norm, formulation=formulation)


def _check(field: str, value: object, valid: tuple[object, ...]) -> None:
    if value not in valid:
        raise errors.InputError(
            f"{field}={value!r} is unknown; valid: {', '.join(map(repr, valid))}."
        )
