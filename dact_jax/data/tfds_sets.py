"""Prepared TensorFlow Datasets, read without TensorFlow."""

import numpy as np
import tensorflow_datasets as tfds

from dact_jax import errors
from dact_jax.data import pixels
from dact_jax.types import Dataset

PARTS = {"train": "train", "validation": "val", "test": "test"}  # not SVHN's "extra"


def load(
    name: str, *, data_dir: str | None = None, size: int = 28, channels: int = 1
) -> Dataset:
    """A classification set of TFDS ("mnist", "svhn_cropped") in array_record form.

    Its train, validation and test parts become the split; other parts do not count.
    Images are brought to size by `pixels.fit`.

    Args:
      name: of the set.
      data_dir: where TFDS keeps its data; None: its default folder.
      size: pixels.
      channels: 1 or 3.

    Returns:
      A dataset with ids such as "mnist/train/00001".

    Raises:
      InputError: no such set, not prepared on this disk in a form that can be read
        without TensorFlow, or without images and labels.
    """
    pixels.check_size(size, channels)
    builder = _builder(name, data_dir)
    images, labels = [], []
    ids: list[str] = []
    split: list[str] = []
    for given, part in PARTS.items():
        if given not in builder.info.splits:
            continue
        rows = builder.as_data_source(given)
        for i in range(len(rows)):
            row = rows[i]
            images.append(pixels.fit(row["image"][None], size=size, channels=channels))
            labels.append(row["label"])
            ids.append(f"{name}/{part}/{i:05d}")
            split.append(part)
    return Dataset(
        name=name,
        image=np.concatenate(images),
        label=np.array(labels, np.int32),
        id=np.array(ids),
        split=np.array(split),
        class_names=tuple(builder.info.features["label"].names),
    )


def _builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """A builder whose data lie on the disk as array_record."""
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError):
        raise errors.InputError(f"TFDS has no set {name!r}") from None
    if not {"image", "label"} <= set(builder.info.features):
        raise errors.InputError(f"TFDS set {name!r} is not of images with one label")
    if not builder.info.splits:
        raise errors.InputError(
            f"TFDS set {name!r} is not prepared in {builder.data_dir}: {_how(builder)}"
        )
    try:
        builder.as_data_source(next(iter(builder.info.splits)))
    except NotImplementedError:
        raise errors.InputError(
            f"TFDS set {name!r} is prepared in {builder.data_dir}, but not as "
            f"array_record: remove that folder and {_how(builder)}"
        ) from None
    return builder


def _how(builder: tfds.core.DatasetBuilder) -> str:
    return (
        "once, where TensorFlow is installed, run: "
        f"tfds build {builder.name} --file_format=array_record "
        f"--data_dir={builder.data_dir_root}"
    )
