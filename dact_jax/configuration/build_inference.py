"""ConfigDict -> the forward pass of a trained network, without reading any data."""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from dact_jax import types
from dact_jax.configuration import build, build_data
from dact_jax.configuration.defaults import Config
from dact_jax.models import encoders, heads
from dact_jax.training import inference
from dact_jax.types import Variables


class Inference(NamedTuple):
    forward: types.Forward  # as in evaluation, with all its views
    domain: int  # the batch-norm row of target images
    batch: int  # images in one forward pass
    template: Variables  # shapes of the network's variables
    on_vectors: bool  # whether it takes vectors, not images


def make_inference(
    config: Config, num_classes: int, image_shape: Sequence[int]
) -> Inference:
    """The forward pass of a run's network, as its evaluations use it.

    Args:
      image_shape: (H, W, C) of the stored images.

    Raises:
      InputError: a field is wrong.
    """
    method = build.make_method(config, num_classes)
    network = build.make_network(config, build.make_encoder(config), method)
    on_vectors = config.model.encoder in encoders.ON_VECTORS
    height, width, channels = image_shape
    if not on_vectors:
        height = width = config.data.crop

    def initial() -> Variables:
        variables = network.init(jax.random.key(0), (height, width, channels))
        return method.prepare(variables) if method.prepare else variables

    forward = inference.make_forward(
        network,
        (heads.CLASSIFIER,),
        build_data.make_prepare(config),
        build_data.make_views(config),
    )
    return Inference(
        forward=forward,
        domain=build.target_domain(config),
        batch=config.train.eval_batch,
        template=jax.eval_shape(initial),
        on_vectors=on_vectors,
    )
