"""A network that tells red, green and blue images apart, without any training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import dact_jax
from dact_jax.classifier import Classifier
from dact_jax.configuration.build_inference import Inference
from dact_jax.rounds.trained.networks import Origin
from dact_jax.types import TARGET, Variables
from tests.embedding import tiny

CLASSES = ("red", "green", "blue")
CERTAIN = 4.0  # difference of logits for a pure color


@functools.partial(jax.jit, static_argnums=2)
def _of_pixels(variables, images, domain):
    del variables, domain
    mean = images.astype(jnp.float32).mean((1, 2)) / 255  # [B, 3]
    return mean, {"classifier": CERTAIN * mean}


@functools.partial(jax.jit, static_argnums=2)
def _of_vectors(variables, images, domain):
    del variables, domain
    vectors = images[:, 0, 0]
    return vectors, {"classifier": vectors[:, :3]}


def classifier(*, on_vectors=False, embeds=False, batch=4):
    """For images of 6 x 6 pixels, for vectors, or for images that are embedded."""
    on_vectors = on_vectors or embeds
    forward = _of_vectors if on_vectors else _of_pixels
    return Classifier(
        class_names=CLASSES,
        config=dact_jax.config("embeddings" if on_vectors else "folder"),
        variables=Variables({}, {}, {}),
        network=Inference(forward, TARGET, batch, Variables({}, {}, {}), on_vectors),
        image_shape=(1, 1, tiny.WIDTH) if on_vectors else (6, 6, 3),
        backbone=tiny.backbone() if embeds else None,
        origin=Origin("last", 2, 30, finished=True),
    )


def write(path, color, strength=255):
    """An image file of one color, of which `strength` is how much there is."""
    pixels = np.zeros((9, 8, 3), np.uint8)
    pixels[..., CLASSES.index(color)] = strength
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
