"""ConfigDict -> the forward pass of a trained network, without reading any data."""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from dact_jax import plugins, types
from dact_jax.configuration import build, build_data
from dact_jax.configuration.defaults import Config
from dact_jax.models import encoders, heads, model
from dact_jax.training import inference
from dact_jax.types import SOURCE, TARGET, Variables


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
    options = dict(config.methods.get(config.method, {}))
    method = plugins.load("methods", config.method, num_classes, **options)
    network = model.make_model(
        build.make_encoder(config),
        method.heads,
        config.model.num_norms,
        shared_affine=config.model.shared_affine,
    )
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
        domain={"source": SOURCE, "target": TARGET}[config.eval.branch],
        batch=config.train.eval_batch,
        template=jax.eval_shape(initial),
        on_vectors=on_vectors,
    )
