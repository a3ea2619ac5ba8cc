"""Vectors of images that are no files of a dataset: opened pictures, arrays, paths."""

import jax
import numpy as np

from dact_jax import devices
from dact_jax.embedding import sweep
from dact_jax.models.backbones import Backbone
from dact_jax.types import Images

_SIZES = (2, 8, sweep.BATCH)  # of a batch on a device: few, so few compilations


def embed(images: Images, backbone: Backbone) -> np.ndarray:
    """The vectors of images by a backbone, float32[N, F]; none are kept.

    They are those that `sweep.embed` computes of the same pixels.

    Args:
      images: uint8[N, side, side, 3], as the backbone needs them.

    Raises:
      InputError: an image cannot be read.
    """
    count, mesh = len(images), devices.make_mesh()
    each = next((n for n in _SIZES if n * mesh.size >= count), sweep.BATCH)
    size = each * mesh.size
    forward = sweep.over(mesh, backbone.forward)
    variables = jax.device_put(backbone.variables, devices.replicated(mesh))
    vectors = np.empty((count, backbone.width), np.float32)
    for begin in range(0, count, size):
        rows = np.arange(begin, min(begin + size, count))
        batch = images[rows]
        filling = np.repeat(batch[-1:], size - len(rows), axis=0)
        batch = np.concatenate([batch, filling])
        found = np.asarray(forward(variables, devices.put(batch, mesh)))
        vectors[rows] = found[: len(rows)]
    return vectors
