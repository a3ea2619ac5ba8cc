"""`dact_jax.load`: the trained classifier of a run, for images or vectors."""

import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from dact_jax import devices, errors, paths
from dact_jax.configuration import build, build_inference, defaults, files
from dact_jax.configuration.build_inference import Inference
from dact_jax.data import inputs, named_labels
from dact_jax.embedding import opened
from dact_jax.models import backbones
from dact_jax.models.backbones import Backbone
from dact_jax.rounds import claim
from dact_jax.rounds.trained import networks
from dact_jax.rounds.trained.networks import Origin, Plan
from dact_jax.training import inference
from dact_jax.types import UNLABELED, Array, Evidence, Examples, Images, Variables


class Classifier(NamedTuple):
    """A trained network with its preparation of images, as in evaluation.

    `images` is, for each method: N paths, PIL images or uint8 arrays of any size, or
    one array uint8[N, H, W, C]; for a run on embeddings, an array float[N, F]. They are
    processed in batches, on all devices. A run that embedded its images by a backbone
    embeds these too.
    """

    class_names: tuple[str, ...]
    config: ml_collections.ConfigDict
    variables: Variables
    network: Inference
    image_shape: tuple[int, ...]  # (H, W, C) of the stored images
    backbone: Backbone | None = None  # embeds images for a network on vectors
    origin: Origin | None = None  # which of the run's networks it is

    def __repr__(self) -> str:
        names = ", ".join(self.class_names[:5])
        more = ", ..." if len(self.class_names) > 5 else ""
        return (
            f"Classifier({self.config.model.encoder}, {len(self.class_names)} classes: "
            f"{names}{more})"
        )

    def predict(self, images: Any) -> np.ndarray:
        """Probabilities of the classes, float32[N, K].

        Raises:
          InputError: an image cannot be read, or the vectors have another width.
        """
        logits = self.sweep(self.prepare(images)).outputs["classifier"]
        return np.asarray(jax.nn.softmax(logits))

    def embed(self, images: Any) -> np.ndarray:
        """Embeddings by the adapted encoder, float32[N, F].

        Raises:
          InputError: as `predict`.
        """
        return self.sweep(self.prepare(images)).embedding

    def evaluate(self, images: Any, labels: Sequence[str] | Array) -> float:
        """Accuracy in [0, 1].

        Args:
          labels: N names of classes, or int[N] positions in `class_names`; "" and -1
            mean that an image has no label and does not count.

        Raises:
          InputError: as `predict`; or a label is no class, their number differs from
            that of the images, or none is known.
        """
        label = named_labels.numbers(labels, self.class_names)
        prepared = self.prepare(images)
        if len(label) != len(prepared):
            raise errors.InputError(
                f"there are {len(label)} labels for {len(prepared)} images."
            )
        if not (label != UNLABELED).any():
            raise errors.InputError("none of the images has a label.")
        return inference.accuracy(self.sweep(prepared).outputs["classifier"], label)

    def prepare(self, images: Any) -> Images:
        """The images as the run stores them, ready for `sweep`.

        Files are read when `sweep` needs them, but at once where a backbone embeds.

        Raises:
          InputError: they are of another form; or as `predict`.
        """
        height, _, channels = self.image_shape
        if self.backbone is not None:
            side, filter = self.backbone.side, self.backbone.filter
            pictures = inputs.as_images(images, side, 3, filter=filter)
            features = opened.embed(pictures, self.backbone)
            return inputs.as_vectors(features, channels, self.config.data.scale)
        if self.network.on_vectors:
            return inputs.as_vectors(images, channels, self.config.data.scale)
        return inputs.as_images(images, height, channels)

    def sweep(self, stored: Images, *, batch_size: int = 0) -> Evidence:
        """Embeddings, and logits as `outputs["classifier"]`, without labels.

        Args:
          stored: what `prepare` returns, or images of the run itself.
          batch_size: images of one forward pass; 0: few for few images.

        Raises:
          InputError: an image cannot be read, or the network's output is not finite.
        """
        count = len(stored)
        if not count:
            return _empty(self.network, self.variables, stored)
        try:
            return inference.sweep(
                self.network.forward,
                self.variables,
                Examples(stored, np.full(count, UNLABELED, np.int32)),
                self.network.domain,
                batch_size=batch_size or _batch_size(count, self.network.batch),
            )
        except errors.DivergedError:
            raise errors.InputError(
                "the network's output is not finite: the images or vectors are too "
                "different from those that it was trained on."
            ) from None


def load(
    workdir: str | os.PathLike[str],
    *,
    backbone: str | os.PathLike[str] = "",
    network: str = "",
) -> Classifier:
    """Loads the classifier from the newest checkpoint of a run that holds it.

    The data of the run are not needed. During a run this is the network of its last
    checkpoint; at the start of a round that begins from untrained weights
    (`train.carry_weights=False`), that of the round before.

    Args:
      backbone: for a run that embedded its images: where the file of the backbone's
        weights is now; "": where it was.
      network: "last", "best_val" (the best by validation), or "": the one that the run
        goes on with, by `eval.keep`.

    Raises:
      InputError: the folder is not a run's, has no readable checkpoint, or none with
        such a network; or the backbone's weights are missing, or are others.
    """
    folder = pathlib.Path(paths.expanded(workdir, "workdir"))
    record = claim.read(folder)
    if not (record.classes and record.image_shape):
        raise errors.InputError(
            f"{folder}/config.yaml lacks classes or image_shape: it was written by an "
            "older version; run it again in a new folder."
        )
    config = _config(folder, record)
    forward = build_inference.make_inference(
        config, len(record.classes), record.image_shape
    )
    plan = _plan(config)
    variables, origin = networks.find(folder, forward.template, plan, network)
    recorded = os.fspath(backbone) or config.model.backbone
    return Classifier(
        class_names=record.classes,
        config=config,
        variables=devices.replicate(variables),
        network=forward,
        image_shape=record.image_shape,
        backbone=_backbone(folder, record, recorded) if recorded else None,
        origin=origin,
    )


def recorded_config(workdir: str | os.PathLike[str]) -> ml_collections.ConfigDict:
    """The config with which the run of a folder goes on.

    Raises:
      InputError: the folder is not a run's, or its config.yaml is damaged.
    """
    folder = pathlib.Path(paths.expanded(workdir, "workdir"))
    return _config(folder, claim.read(folder))


def _config(folder: pathlib.Path, record: claim.Record) -> ml_collections.ConfigDict:
    try:
        return read_config({**record.config, **record.others})
    except errors.InputError as error:
        raise errors.InputError(
            f"{folder}/config.yaml is not that of a run of this version: {error}"
        ) from None


def _plan(config: ml_collections.ConfigDict) -> Plan:
    """What the checkpoints of a run mean that has this config."""
    policy = build.make_policy(config, np.zeros(0, bool))
    train = config.train
    return Plan(
        keep=config.eval.keep,
        num_rounds=policy.num_rounds,
        steps=train.steps,
        first_steps=train.first_steps or train.steps,
        carry_weights=train.carry_weights,
        pretrained=bool(config.pretrain.steps),
    )


def _backbone(folder: pathlib.Path, record: claim.Record, name: str) -> Backbone:
    """The network that embedded the images of a run."""
    try:
        backbone = backbones.load(name)
    except errors.InputError as error:
        reason = errors.clause(error)
        raise errors.InputError(
            f"{folder} embedded its images by {errors.printable(name)}, which cannot "
            f"be used: {reason}; backbone=FILE says where the file is now."
        ) from None
    if backbone.identity != record.data.get("backbone"):
        raise errors.InputError(
            f"{folder} embedded its images with other weights than those of "
            f"{errors.printable(name)}: give the file of that time, as backbone=FILE."
        )
    return backbone


def read_config(recorded: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """The complete config of a run, from what config.yaml records of it."""
    config = defaults.get_config()
    for field, value in claim.flat(recorded).items():
        if value != {}:  # a plug-in without options
            files.override(config, field, value)
    return config


def _batch_size(count: int, most: int) -> int:
    """Images in a forward pass: few sizes, so few compilations; split over devices."""
    size = min(most, 2 ** math.ceil(math.log2(count)))
    return -(-size // jax.device_count()) * jax.device_count()


def _empty(network: Inference, variables: Variables, images: Any) -> Evidence:
    """The evidence of no image, with the right widths."""
    image = jax.ShapeDtypeStruct((network.batch, *images.shape[1:]), images.dtype)
    embedding, outputs = jax.eval_shape(
        lambda variables, image: network.forward(variables, image, network.domain),
        variables,
        image,
    )
    return Evidence(
        np.zeros((0, *embedding.shape[1:]), np.float32),
        {k: np.zeros((0, *v.shape[1:]), np.float32) for k, v in outputs.items()},
        None,
    )
