"""ConfigDict -> image files as vectors of a frozen network (`model.backbone`)."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from dact_jax import errors
from dact_jax.configuration.defaults import Config
from dact_jax.data.readers import embeddings
from dact_jax.data.readers.files import ImageFiles
from dact_jax.embedding import sweep
from dact_jax.embedding.sweep import Progress
from dact_jax.models import backbones, encoders
from dact_jax.models.backbones import Backbone
from dact_jax.types import Dataset


class Embed(Protocol):
    """Vectors of image files, float32[N, F]: `sweep.embed` with some cache."""

    def __call__(
        self, files: ImageFiles, backbone: Backbone, *, progress: Progress
    ) -> np.ndarray: ...


class Embedding(NamedTuple):
    """How a run turns image files into vectors."""

    backbone: Backbone
    embed: Embed
    progress: Progress  # is told how many images of both domains have their vector
    scale: embeddings.Scale


def make_embedding(
    config: Config,
    embed: Embed = sweep.embed,
    progress: Progress = lambda done, total: None,
) -> Embedding | None:
    """The embedding that a config asks for; None if it asks for none.

    Raises:
      InputError: the backbone cannot be used, or not together with other fields.
    """
    name = config.model.backbone
    if not name:
        return None
    if config.model.encoder not in encoders.ON_VECTORS:
        raise errors.InputError(
            f"model.backbone={name!r} embeds images for the encoder mlp, but "
            f"model.encoder={config.model.encoder!r} sees the images themselves: leave "
            "model.backbone empty, or set model.encoder='mlp'."
        )
    if config.model.weights:
        raise errors.InputError(
            f"model.weights={config.model.weights!r} is for an encoder of images, but "
            f"model.backbone={name!r} embeds them: give the file as model.backbone, or "
            "choose the encoder that it is for, such as model.encoder='resnet18'."
        )
    return Embedding(backbones.load(name), embed, progress, config.data.scale)


def embed(embedding: Embedding, *domains: Dataset) -> tuple[Dataset, ...]:
    """The domains with vectors, float32[N, 1, 1, F], in place of their image files.

    Raises:
      InputError: an image cannot be read, or has changed since it was listed.
    """
    total, before = sum(len(data.label) for data in domains), 0
    embedded = []
    for data in domains:
        report = _counted(embedding.progress, before, total)
        assert isinstance(data.image, ImageFiles)  # `reading` lets no others through
        features = embedding.embed(data.image, embedding.backbone, progress=report)
        image = embeddings.stored(features, f"vectors of {data.name}", embedding.scale)
        embedded.append(data._replace(image=image))
        before += len(data.label)
    return tuple(embedded)


def _counted(progress: Progress, before: int, total: int) -> Callable[[int, int], None]:
    """Tells of a domain's images together with those of the domains before it."""

    def report(done: int, count: int) -> None:
        del count  # of this domain
        progress(before + done, total)

    return report
