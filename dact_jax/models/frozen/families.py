"""Which network the weights of a file are of, told by their names."""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from dact_jax import errors
from dact_jax.models import conv, encoders, model, pretrained
from dact_jax.models.frozen import efficientnet, vit
from dact_jax.models.pretrained import Weights
from dact_jax.models.weight_files import state_dicts
from dact_jax.types import PyTree, Variables

EFFICIENTNET = "efficientnet_lite0"
_SIDE = 224  # pixels
# A name of each kind of network that its files have; others before it are a prefix.
_ANCHORS = {"_conv_stem.weight", "layer4.0.conv1.weight", vit.ANCHOR}
_DINOV2_SIDE = 518  # DINOv2 was trained last at this size; its users take 224

Filter = Literal["bilinear", "bicubic"]
Pixel = tuple[float, float, float]  # of red, green and blue

# Mean and standard deviation of pixels, by the names of `Options.normalize`.
NORMALIZATIONS: dict[str, tuple[Pixel, Pixel]] = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "half": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
}


class Options(NamedTuple):
    """What a user may choose."""

    side: int = 0  # pixels; 0: the network's own
    normalize: str = ""  # of NORMALIZATIONS; "": the network's own
    implementation: conv.Implementation = "stock"


class Network(NamedTuple):
    """A network with its weights, and how it sees images."""

    name: str
    network: Callable[[PyTree, jax.Array], jax.Array]  # [B, side, side, 3] -> [B, F]
    variables: PyTree
    side: int
    filter: Filter  # that resizes images
    mean: Pixel
    std: Pixel
    width: int  # F


class _Family(NamedTuple):
    name: str
    weights: Weights  # by the names of this family
    needed: tuple[str, ...]  # names of the tensors that a file must have
    ignored: re.Pattern[str]  # and of those that it may have
    make: Callable[[Weights, Options], Network]

    def missing(self) -> list[str]:
        """Names that the file lacks."""
        return [name for name in self.needed if name not in self.weights.tensors]

    def others(self) -> list[str]:
        """Names that the file has, and the network has not."""
        names = self.weights.tensors.keys() - {*self.needed}
        return sorted(name for name in names if not self.ignored.search(name))


def recognize(weights: Weights, options: Options) -> Network:
    """The network that the weights are of.

    Raises:
      InputError: they are of no known one, a tensor is damaged, or the network cannot
        take the side.
    """
    families = []
    for family in _families(_alone(weights)):
        if not family.missing() and not family.others():
            found = family.make(family.weights, options)
            if options.normalize:
                mean, std = NORMALIZATIONS[options.normalize]
                found = found._replace(mean=mean, std=std)
            return found
        families.append(family)
    raise errors.InputError(_unknown(families))


def _families(weights: Weights) -> Iterator[_Family]:
    """What the file may be of; each is made up when it is asked for."""
    needed = tuple(efficientnet.shapes())
    yield _Family(EFFICIENTNET, weights, needed, efficientnet.IGNORED, _efficientnet)
    for name in encoders.RESNETS:
        make = functools.partial(_resnet, name)
        yield _Family(name, weights, _resnet_names(name), pretrained.IGNORED, make)
    plain = weights._replace(tensors=vit.plain_names(weights.tensors))
    if vit.ANCHOR in plain.tensors:
        form = vit.form(plain.tensors, plain.path)
        make = functools.partial(_vit, form)
        yield _Family(form.name, plain, tuple(vit.shapes(form)), vit.IGNORED, make)


def _alone(weights: Weights) -> Weights:
    """The one network in a file that also holds other things.

    Raises:
      InputError: it holds several networks.
    """
    if _ANCHORS & weights.tensors.keys():
        return weights
    starts = {
        name.removesuffix(anchor)
        for name in weights.tensors
        for anchor in _ANCHORS
        if name.endswith(f".{anchor}")
    }
    if not starts:
        return weights
    if len(starts) > 1:
        listed = " and ".join(map(errors.quoted, sorted(starts)))
        raise errors.InputError(
            f"{weights.path} holds several networks, under {listed}: save one of them "
            "by itself."
        )
    (start,) = starts
    return weights._replace(
        tensors={
            name.removeprefix(start): tensor
            for name, tensor in weights.tensors.items()
            if name.startswith(start)
        }
    )


def _unknown(families: Sequence[_Family]) -> str:
    """The error about weights of no family, with the one that is most alike."""
    path, tensors = families[0].weights

    def likeness(family: _Family) -> float:
        names = family.weights.tensors.keys()
        return len(names & {*family.needed}) / len(names | {*family.needed})

    nearest = max(families, key=likeness)
    if not likeness(nearest):
        return (
            f"{path} holds the weights of no known network; known are {EFFICIENTNET}, "
            f"{', '.join(encoders.RESNETS)} and ViTs by the names of timm or DINOv2, "
            f"and it has {state_dicts.listed(tensors)}."
        )
    faults = [
        f"{verb} {errors.quoted(names[0])}{_more(names)}"
        for verb, names in (("lacks", nearest.missing()), ("has", nearest.others()))
        if names
    ]
    return (
        f"{path} holds the weights of no known network; the nearest is {nearest.name}, "
        f"but the file {' and '.join(faults)}."
    )


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _efficientnet(weights: Weights, options: Options) -> Network:
    tensors = _checked(weights, efficientnet.shapes(), EFFICIENTNET)
    return Network(
        EFFICIENTNET,
        _applied(efficientnet.EfficientNetLite0(options.implementation)),
        efficientnet.variables(tensors),
        options.side or _SIDE,
        "bicubic",
        (127.0,) * 3,
        (128.0,) * 3,
        efficientnet.WIDTH,
    )


def _applied(module: nn.Module) -> Callable[[PyTree, jax.Array], jax.Array]:
    def network(variables: PyTree, images: jax.Array) -> jax.Array:
        return module.apply(variables, images)  # type: ignore[return-value]

    return network


def _checked(
    weights: Weights, shapes: Mapping[str, tuple[int, ...]], name: str
) -> dict[str, np.ndarray]:
    """Tensors as finite float32 arrays of the given shapes."""
    return {
        tensor: pretrained.tensor(weights, tensor, shape, name)
        for tensor, shape in shapes.items()
    }


@functools.cache
def _resnet_template(name: str) -> Variables:
    """The variables of a ResNet, shapes alone."""
    network = model.make_model(encoders.RESNETS[name](), {}, 1)
    return jax.eval_shape(
        lambda key: network.init(key, (_SIDE, _SIDE, 3)), jax.random.key(0)
    )


def _resnet_names(name: str) -> tuple[str, ...]:
    template = _resnet_template(name)
    parts = [template.params[model.ENCODER], template.norm, template.stats]
    return tuple(pretrained.needed(parts, name))


def _resnet(name: str, weights: Weights, options: Options) -> Network:
    encoder = encoders.RESNETS[name](implementation=options.implementation)
    whole = model.make_model(encoder, {}, 1)
    template = _resnet_template(name)
    variables = pretrained.apply_weights(template, weights, name)

    def network(variables: PyTree, images: jax.Array) -> jax.Array:
        features, _ = whole.encode(variables, images[None], (0,), train=False)
        return features.embedding[0]

    side = options.side or _SIDE
    output = jax.eval_shape(
        network, template, jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    )
    mean, std = NORMALIZATIONS["imagenet"]
    width = output.shape[-1]
    return Network(name, network, variables, side, "bilinear", mean, std, width)


def _vit(form: vit.Form, weights: Weights, options: Options) -> Network:
    own = form.grid * form.patch
    side = options.side or (_SIDE if own == _DINOV2_SIDE else own)
    if side % form.patch:
        raise errors.InputError(
            f"{form.name} cuts images into patches of {form.patch} pixels, which do "
            f"not fill a side of {side}: give a multiple of {form.patch}."
        )
    grid = side // form.patch
    tensors = _checked(weights, vit.shapes(form), form.name)
    mean, std = NORMALIZATIONS["imagenet" if form.scaled else "half"]
    return Network(
        form.name,
        _applied(vit.ViT(form._replace(grid=grid))),
        vit.variables(tensors, form, grid),
        side,
        "bicubic",
        mean,
        std,
        form.width,
    )
