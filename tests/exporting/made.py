"""Classifiers with invented weights, of every kind that is exported."""

import contextlib
import functools

import jax
import numpy as np

import dact_jax
from dact_jax.classifier import Classifier
from dact_jax.configuration import build_inference
from dact_jax.exporting import comparison
from dact_jax.models import backbones, encoders, model, resnet
from dact_jax.models.frozen import efficientnet, vit

CLASSES = ("cup", "mug", 'a "glass"')
VIT = vit.Form(64, 2, 8, 4, registers=2, placed=1, scaled=True)
_LENET = {"model.encoder": "lenet", "data.crop": 20, "data.size": 24}
_DSBN = {"model.batch_norm": True, "model.num_norms": 2}
_MLP = {"model.encoder": "mlp", "model.widths": (16, 24)}
_RESNET = {"model.encoder": "resnet18", "data.size": 40, "data.crop": 33}
# ResNets with one block a stage, which compile in a third of the time.
SMALL = {
    "resnet18": functools.partial(resnet.ResNet, (1, 1, 1, 1), resnet.basic),
    "resnet50": functools.partial(resnet.ResNet, (1, 1, 1, 1), resnet.bottleneck),
}

# Kind -> (config and its changes, shape of what is stored, backbone or "").
KINDS = {
    "lenet": ("digits", _LENET, (24, 24, 1), ""),
    "lenet_dsbn": ("digits", _LENET | _DSBN, (24, 24, 1), ""),
    "mlp": ("embeddings", _MLP | _DSBN | {"method": "mme"}, (1, 1, 5), ""),
    "mlp_raw": (
        "embeddings",
        _MLP | {"data.scale": "raw", "method": "jan", "methods.jan.bottleneck": 4},
        (1, 1, 5),
        "",
    ),
    "resnet": (
        "folder",
        _RESNET | {"model.num_norms": 2, "method": "source_only"},
        (40, 40, 3),
        "",
    ),
    "resnet_mme": (
        "folder",
        _RESNET
        | {"model.encoder": "resnet50", "model.variant": "mme", "method": "mme"}
        | {"data.crop": 32}  # the pooling after the stem reaches beyond the edge
        | {"methods.mme.head": "two_layer"},
        (40, 40, 3),
        "",
    ),
    "vit": ("folder", _MLP | _DSBN, (1, 1, 64), "vit"),
    "efficientnet": ("folder", _MLP, (1, 1, 1280), "efficientnet"),
    "resnet_backbone": ("folder", _MLP, (1, 1, 512), "resnet"),
}


COMPUTED = tuple(kind for kind in KINDS if kind != "resnet_backbone")  # it is slow


@functools.cache
def computed(kind):
    """A classifier, stored images for it, and their logits by it."""
    with small(kind):
        found = classifier(kind)
        images = stored(found)
        return found, images, comparison.ours(found, images)


@contextlib.contextmanager
def small(kind):
    """Makes ResNets small, so that they compile soon; nothing else may see them."""
    if not kind.startswith("resnet"):
        yield
        return
    full = dict(encoders.RESNETS)
    encoders.RESNETS.update(SMALL)
    try:
        yield
    finally:
        encoders.RESNETS.update(full)


def classifier(kind, seed=0, changes=None):
    """A classifier of one of KINDS, with changes of its config."""
    name, fields, shape, backbone = KINDS[kind]
    changes = {**fields, **(changes or {})}
    if not backbone and name == "folder":
        changes = {"model.backbone": "", **changes}
    if shape[-1] in (1, 3):
        means = {"data.mean": (0.4,) * shape[-1], "data.std": (0.3,) * shape[-1]}
        changes = {"data.channels": shape[-1], **means, **changes}
    config = dact_jax.config(name, **changes)
    network = build_inference.make_inference(config, len(CLASSES), shape)
    return Classifier(
        CLASSES,
        config,
        drawn(network.template, seed),
        network,
        shape,
        backbone=_BACKBONES[backbone](seed) if backbone else None,
    )


def drawn(template, seed):
    """Weights for which activations stay near one; each row of batch norm its own."""
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            size = np.sqrt(2 / max(np.prod(leaf.shape[:-1]), 1))
            return random.normal(0, size, leaf.shape).astype(np.float32)
        low, high = (
            (0.7, 1.3) if name in ("scale", "variance", "gamma") else (-0.2, 0.2)
        )
        return random.uniform(low, high, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, template)


def stored(made, count=5, seed=1):
    """Images or vectors as `samples.Samples` holds them."""
    random = np.random.default_rng(seed)
    side, _, channels = made.image_shape
    if made.backbone is not None:
        side, channels = made.backbone.side, 3
    elif made.network.on_vectors:
        return random.normal(0, 3, (count, channels)).astype(np.float32)
    return random.integers(0, 256, (count, side, side, channels)).astype(np.uint8)


def _vit(seed):
    network = vit.ViT(VIT)
    return _frozen(VIT.name, network, VIT.patch * VIT.grid, VIT.width, seed)


def _efficientnet(seed):
    network = efficientnet.EfficientNetLite0(backbones.implementation())
    return _frozen("efficientnet_lite0", network, 33, efficientnet.WIDTH, seed)


def _resnet(seed):
    whole = model.make_model(encoders.RESNETS["resnet18"](), {}, 1)
    template = jax.eval_shape(
        lambda key: whole.init(key, (32, 32, 3)), jax.random.key(0)
    )

    def network(variables, images):
        features, _ = whole.encode(variables, images[None], (0,), train=False)
        return features.embedding[0]

    return _made("resnet18", network, drawn(template, seed), 32, 512)


def _frozen(name, module, side, width, seed):
    images = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    template = jax.eval_shape(module.init, jax.random.key(0), images)
    return _made(name, module.apply, drawn(template, seed), side, width)


def _made(name, network, variables, side, width):
    form = {"filter": "bicubic", "mean": (120.0, 110.0, 100.0), "std": (60.0,) * 3}
    return backbones.make(name, network, variables, side=side, width=width, **form)


_BACKBONES = {"vit": _vit, "efficientnet": _efficientnet, "resnet": _resnet}
