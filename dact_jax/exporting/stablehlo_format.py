"""`--format=stablehlo`: model.stablehlo, which any later JAX runs without dact_jax."""

import importlib.util
import pathlib
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dact_jax import errors, storage
from dact_jax.classifier import Classifier
from dact_jax.configuration import build_inference
from dact_jax.exporting import description
from dact_jax.exporting.written import Written
from dact_jax.models import encoders, model
from dact_jax.models.backbones import EFFICIENTNET, Backbone
from dact_jax.models.frozen import efficientnet, vit

FILE = "model.stablehlo"
_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_MOST = 2**31 - 2**24  # bytes
_BATCH = 7  # images of a batch, besides one image alone


def require() -> None:
    """Raises InputError if the library is missing by which JAX writes its programs."""
    if importlib.util.find_spec("flatbuffers") is None:
        raise errors.InputError(
            "--format=stablehlo needs flatbuffers: pip install 'dact_jax[stablehlo]'"
        )


def check(classifier: Classifier) -> None:
    """Raises InputError if the network has more weights than a file can hold."""
    trees = classifier.variables, classifier.backbone and classifier.backbone.variables
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(trees))
    if size > _MOST:
        raise errors.InputError(
            f"the network has {size / 2**30:.1f} GiB of weights, and a file of "
            "StableHLO holds 2 at most: give --format=torch or --format=npz."
        )


def write(
    classifier: Classifier, folder: pathlib.Path, stored: np.ndarray, *, input_type: str
) -> Written:
    """Writes the file, and computes logits by it, of one image and of seven at once.

    Args:
      folder: that it is written to.
      stored: images as `samples.Samples` has them.
      input_type: "float32" or "uint8".
    """
    from jax import export

    x = stored if stored.ndim == 2 else stored.transpose(0, 3, 1, 2)
    x = np.ascontiguousarray(x, input_type)
    batch = export.symbolic_shape("batch")
    taken = jax.ShapeDtypeStruct((*batch, *x.shape[1:]), x.dtype)
    # By default, accelerators multiply with fewer digits, each in its own way.
    with jax.default_matmul_precision("highest"):
        program = jax.jit(_program(classifier))
        exported = export.export(program, platforms=_PLATFORMS)(taken)
    storage.write_atomic(folder / FILE, bytes(exported.serialize()))
    read = export.deserialize(bytearray((folder / FILE).read_bytes()))
    by = f"JAX {jax.__version__} (batches of 1 and {_BATCH})"
    record = {"input_type": input_type, "platforms": list(_PLATFORMS)}
    return Written(_logits(jax.jit(read.call), x), by, record)


def _logits(call: Callable[[np.ndarray], jax.Array], x: np.ndarray) -> np.ndarray:
    """float32[n, K]: of the first row by itself, of the others seven at a time."""
    found, count = [np.asarray(call(x[:1]))], len(x)
    for begin in range(1, count, _BATCH):
        rows = np.arange(begin, begin + _BATCH) % count
        found.append(np.asarray(call(x[rows]))[: count - begin])
    return np.concatenate(found)


def _program(classifier: Classifier) -> Callable[[jax.Array], jax.Array]:
    """Pixels [B, C, side, side] or vectors [B, F] to logits, with XLA's operations.

    What is fast on this machine's processor alone is not used.
    """
    config = classifier.config.copy_and_resolve_references()
    config.model.convolution = "stock"
    network = build_inference.make_inference(
        config, len(classifier.class_names), classifier.image_shape
    )
    variables = jax.tree.map(np.asarray, classifier.variables)
    backbone = None if classifier.backbone is None else _stock(classifier.backbone)

    def program(x: jax.Array) -> jax.Array:
        x = x.astype(jnp.float32)
        if x.ndim == 4:
            x = x.transpose(0, 2, 3, 1)
        if backbone is not None:
            x = backbone(x)
        if network.on_vectors:
            x = _unit(x) if config.data.scale == "unit" else x
            x = x[:, None, None]
        return network.forward(variables, x, network.domain)[1]["classifier"]

    return program


def _unit(x: jax.Array) -> jax.Array:
    """[B, F], each row divided by its root mean square; rows of zeros are kept."""
    x = x / _zeros_to_one(jnp.abs(x).max(1, keepdims=True))
    return x / _zeros_to_one(jnp.sqrt(jnp.square(x).mean(1, keepdims=True)))


def _zeros_to_one(x: jax.Array) -> jax.Array:
    return jnp.where(x == 0, jnp.ones_like(x), x)


def _stock(backbone: Backbone) -> Callable[[jax.Array], jax.Array]:
    """Pixels [B, side, side, 3] to vectors, with XLA's convolutions."""
    variables = jax.tree.map(np.asarray, backbone.variables)
    if backbone.name in encoders.RESNETS:
        whole = model.make_model(encoders.RESNETS[backbone.name](), {}, 1)

        def network(x: jax.Array) -> jax.Array:
            features, _ = whole.encode(variables, x[None], (0,), train=False)
            return features.embedding[0]

    elif backbone.name == EFFICIENTNET or backbone.name.startswith("vit_"):
        module: nn.Module = efficientnet.EfficientNetLite0()
        if backbone.name != EFFICIENTNET:
            module = vit.ViT(vit.Form(**description.vit_form(backbone)))

        def network(x: jax.Array) -> jax.Array:
            return jnp.asarray(module.apply(variables, x))

    else:
        return lambda x: backbone.forward(variables, x)
    mean, std = (np.array([[[v]]], np.float32) for v in (backbone.mean, backbone.std))
    return lambda x: network((x - mean) / std)
