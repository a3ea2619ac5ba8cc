"""ConfigDict -> the data of a run, and how they become network input."""

import functools
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from dact_jax import devices, errors
from dact_jax.configuration.defaults import Config
from dact_jax.data import augment, fingerprint, hold_out, left_out, splits, streams
from dact_jax.data.readers import embeddings, lists, sources
from dact_jax.models import encoders
from dact_jax.types import Array, Dataset, Key, Task


def read(config: Config) -> tuple[Task, dict[str, str]]:
    """Reads both domains and makes the task; small pools are put on the device.

    Returns:
      The task, and what identifies its data: fingerprints of "source", "target" and
      "weights", and how many images were skipped.

    Raises:
      InputError: the data cannot be read, or do not fit each other or the encoder.
    """
    source, target = _domains(config)
    task = _split(config, source, target)
    for name in splits.unlabelled_classes(source, target):
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
    everywhere = devices.replicated(devices.make_mesh())
    return streams.place_task(task, config.data.device_bytes, everywhere), record


def listed(config: Config) -> Task | None:
    """The task of two domains of image files, before any of them is opened.

    Files that will be left out are still in it. None for other data.

    Raises:
      InputError: as `read`, but for what the images hold.
    """
    if not all(map(sources.are_files, _places(config))):
        return None
    return _split(config, *_domains(config, unchecked=True))


def _places(config: Config) -> list[str]:
    """The specs of the source and of the target."""
    return [config.data.source, *(_list_files(config) or [config.data.target])]


def _list_files(config: Config) -> list[str]:
    names = ("labelled_list", "val_list", "unlabeled_list")
    return [config.data[name] for name in names if config.data[name]]


def _domains(config: Config, *, unchecked: bool = False) -> tuple[Dataset, Dataset]:
    """Source and target.

    Args:
      unchecked: whether image files are listed, not opened.
    """
    _lists(config)  # all three or none
    first, *others = _places(config)
    source = _read(config, first, unchecked=unchecked)
    _check_source(source, config.model.encoder)
    classes = None if _list_files(config) else source.class_names
    target = _read(config, *others, classes=classes, unchecked=unchecked)
    _check_same_kind(source, target)
    return source, target


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
        lists=_lists(config),
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


def _check_source(source: Dataset, encoder: str) -> None:
    """Raises InputError if the source does not fit the encoder or has no labels."""
    vectors = embeddings.are_vectors(source.image)
    if vectors and encoder not in encoders.ON_VECTORS:
        raise errors.InputError(
            f"model.encoder={encoder!r} is for images, but {source.name} holds "
            "embeddings: use configs/embeddings.py, or set model.encoder='mlp'."
        )
    if not vectors and encoder in encoders.ON_VECTORS:
        raise errors.InputError(
            f"model.encoder={encoder!r} is for embeddings, but {source.name} holds "
            "images: give .npz files with features, or set model.encoder='lenet' or "
            "a ResNet."
        )
    if not source.class_names:
        raise errors.InputError(
            f"source {source.name} has no labels: every source image must be labelled."
        )
    if len(source.class_names) == 1:
        raise errors.InputError(
            f"source {source.name} has only the class {source.class_names[0]!r}, so "
            "there is nothing to tell apart: give two classes or more, one folder each."
        )


def _check_same_kind(source: Dataset, target: Dataset) -> None:
    """Raises InputError unless one network can read both domains."""
    kinds = [
        "embeddings" if embeddings.are_vectors(data.image) else "images"
        for data in (source, target)
    ]
    if kinds[0] != kinds[1]:
        raise errors.InputError(
            f"source {source.name} holds {kinds[0]}, but target {target.name} "
            f"{kinds[1]}: give two domains of the same kind."
        )
    sizes = [data.image.shape[-1] for data in (source, target)]
    if sizes[0] != sizes[1]:
        raise errors.InputError(
            f"source {source.name} has vectors of {sizes[0]} numbers, but target "
            f"{target.name} of {sizes[1]}: take both from the same model."
        )


def _lists(config: Config) -> splits.Lists | None:
    """The ids in the list files that fix T_l, T_v and T_u; None if there are none."""
    files = _list_files(config)
    if not files:
        return None
    if len(files) < 3:
        raise errors.InputError(
            "data.labelled_list, data.val_list and data.unlabeled_list go together: "
            f"give all three or none, not only {', '.join(map(repr, files))}."
        )
    # As `lists.load` takes it.
    folder = config.data.root or pathlib.Path(files[0]).parent
    return splits.Lists(*(lists.read_ids(path, root=folder) for path in files))


def _read(
    config: Config,
    *places: str,
    classes: tuple[str, ...] | None = None,
    unchecked: bool = False,
) -> Dataset:
    data = config.data
    domain = sources.load(
        *places,
        size=data.size,
        channels=data.channels,
        root=data.root,
        tfds_dir=data.tfds_dir,
        on_error="unchecked" if unchecked else data.on_error,
        max_pixels=data.max_pixels,
        scale=data.scale,
        classes=classes,
    )
    if not unchecked:
        omissions = left_out.lines(domain.name, domain.left_out)
        for line in [*domain.notes, *omissions]:
            logging.warning("%s", line)
    return domain
