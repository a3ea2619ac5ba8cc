"""Prepared datasets of TensorFlow Datasets (TFDS), read without TensorFlow."""

import numpy as np
import tensorflow_datasets as tfds

from dact_jax import errors
from dact_jax.data.readers import pixels
from dact_jax.types import Dataset

PARTS = {"train": "train", "validation": "val", "test": "test"}  # SVHN has "extra"


def load(
    name: str, *, data_dir: str | None = None, size: int = 28, channels: int = 1
) -> Dataset:
    """Reads a classification dataset of TFDS that is prepared as array_record.

    Its train, validation and test parts become the split; other parts are ignored.
    Images are resized by `pixels.fit`.

    Args:
      name: name in TFDS, such as "mnist" or "svhn_cropped".
      data_dir: folder of prepared TFDS data; None: the default of TFDS.
      size: height and width of the images, in pixels.
      channels: 1 or 3.

    Returns:
      A dataset with ids such as "mnist/train/00001".

    Raises:
      InputError: TFDS has no such dataset, it is not prepared on this machine as
        array_record, or it has no images or labels.
    """
    pixels.check_size(size, channels)
    builder = _builder(name, data_dir)
    images, labels = [], []
    ids: list[str] = []
    split: list[str] = []
    for tfds_part, part in PARTS.items():
        if tfds_part not in builder.info.splits:
            continue
        rows = builder.as_data_source(tfds_part)
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
    """The builder of a dataset that is prepared as array_record."""
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError):
        raise errors.InputError(f"TFDS has no dataset {name!r}.") from None
    if not {"image", "label"} <= set(builder.info.features):
        raise errors.InputError(
            f"the TFDS dataset {name!r} must have the features image and label."
        )
    if not builder.info.splits:
        raise errors.InputError(
            f"the TFDS dataset {name!r} is not prepared in {builder.data_dir}: "
            f"{_instruction(builder)}"
        )
    try:
        builder.as_data_source(next(iter(builder.info.splits)))
    except NotImplementedError:
        raise errors.InputError(
            f"the TFDS dataset {name!r} is prepared in {builder.data_dir}, but not as "
            f"array_record: remove that folder and {_instruction(builder)}"
        ) from None
    return builder


def _instruction(builder: tfds.core.DatasetBuilder) -> str:
    return (
        "run this once, where TensorFlow is installed: "
        f"tfds build {builder.name} --file_format=array_record "
        f"--data_dir={builder.data_dir_root}"
    )
