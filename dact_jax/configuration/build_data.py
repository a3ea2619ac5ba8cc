"""ConfigDict -> the data of a run, and how they become network input."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from dact_jax import devices, errors
from dact_jax.configuration.defaults import Config
from dact_jax.configuration.domains import embedded, reading
from dact_jax.configuration.domains.embedded import Embedding
from dact_jax.data import augment, fingerprint, hold_out, splits, streams
from dact_jax.data.readers import lists, sources
from dact_jax.models import encoders
from dact_jax.types import Array, Dataset, Key, Task


def read(
    config: Config, embedding: Embedding | None = None
) -> tuple[Task, dict[str, str]]:
    """Reads both domains and makes the task; small pools are put on the device.

    Args:
      embedding: turns images into vectors; None: the encoder sees what is read.

    Returns:
      The task, and what identifies its data: fingerprints of "source", "target",
      "weights" and the "backbone", and how many images were skipped.

    Raises:
      InputError: the data cannot be read, or do not fit each other or the encoder.
    """
    source, target = reading.domains(config)
    task = _split(config, source, target)
    missing = splits.unlabelled_classes(source, target)
    if len(missing) == len(source.class_names):
        missing = []  # no image has a label: `label_counts` says so
    for name in missing:
        logging.warning(
            "No image of %s has the label %s: accuracies do not cover that class.",
            target.name,
            name,
        )
    record = {"source": fingerprint.of(source), "target": fingerprint.of(target)}
    if record["source"] == record["target"]:
        raise errors.InputError(
            f"data.source and data.target hold the same images ({source.name}): "
            "give two different domains."
        )
    if config.model.weights:
        record["weights"] = fingerprint.of_file(config.model.weights)
    for side, data in (("source", source), ("target", target)):
        if damaged := sum(file.damaged for file in data.left_out):
            record[f"{side}_skipped"] = f"{damaged} unreadable"
    if embedding is not None:
        record["backbone"] = embedding.backbone.identity
        task = _split(config, *embedded.embed(embedding, source, target))
    everywhere = devices.replicate
    return streams.place_task(task, config.data.device_bytes, everywhere), record


def listed(config: Config) -> Task | None:
    """The task of two domains of image files, before any of them is opened.

    Files that will be left out are still in it. None for other data.

    Raises:
      InputError: as `read`, but for what the images hold.
    """
    if not all(map(sources.are_files, reading.places(config))):
        return None
    return _split(config, *reading.domains(config, unchecked=True))


def _split(config: Config, source: Dataset, target: Dataset) -> Task:
    return splits.make_task(
        source,
        target,
        seed=config.seed,
        test_fraction=config.data.test_fraction,
        stratified=config.data.stratified,
        val_per_class=config.data.val_per_class,
        leave=max(config.data.shots_per_class, 1),
        transductive=config.data.transductive,
        transductive_set=config.data.transductive_set,
        lists=reading.split_lists(config),
        one_sided=bool(config.data.classes.strip()),
    )


def given(config: Config, task: Task) -> np.ndarray:
    """bool[N_t], target images whose labels are given at the start."""
    label = np.asarray(task.target.train.label)
    if config.data.labelled_list:
        ids = lists.read_ids(config.data.labelled_list, root=config.data.root or None)
        return np.isin(np.arange(len(label)), splits.find(task.target.id, ids))
    shots = config.data.shots_per_class
    if shots:
        return hold_out.shots(task, shots, seed=config.seed)
    return np.zeros(len(label), bool)


def input_shape(config: Config, task: Task) -> tuple[int, int, int]:
    """(h, w, C) of a network input."""
    height, width, channels = task.source.train.image.shape[1:]
    if config.model.encoder in encoders.ON_VECTORS:
        return height, width, channels
    return config.data.crop, config.data.crop, channels


def make_prepare(config: Config) -> Callable[[jax.Array], jax.Array]:
    """The function from stored images to network input in evaluation: center crop.

    Vectors are not changed.

    Raises:
      InputError: the crop, mean or std does not fit the images.
    """
    if config.model.encoder in encoders.ON_VECTORS:
        return _as_stored
    data = config.data
    augment.check_area(data.crop_area)
    center = functools.partial(
        augment.center, crop=data.crop, mean=tuple(data.mean), std=tuple(data.std)
    )
    stored = jax.ShapeDtypeStruct((1, data.size, data.size, data.channels), np.uint8)
    jax.eval_shape(center, stored)
    return center


def make_views(config: Config) -> list[Callable[[jax.Array], jax.Array]]:
    """The nine further crops whose predictions an accuracy averages; or none."""
    if config.eval.crops == 1 or config.model.encoder in encoders.ON_VECTORS:
        return []
    data = config.data
    return augment.ten_crops(crop=data.crop, mean=tuple(data.mean), std=tuple(data.std))


def make_augment(config: Config) -> Callable[[jax.Array, Key], jax.Array]:
    """The function from stored images to network input in training: random crops.

    Vectors are not changed.
    """
    if config.model.encoder in encoders.ON_VECTORS:
        return _as_stored
    data = config.data
    return functools.partial(
        augment.augment,
        crop=data.crop,
        flip=data.flip,
        area=tuple(data.crop_area),
        mean=tuple(data.mean),
        std=tuple(data.std),
    )


def _as_stored(images: Array, key: Key | None = None) -> jax.Array:
    del key
    return jnp.asarray(images)
