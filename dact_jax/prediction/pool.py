"""The images whose labels are wanted, as the run's network can take them."""

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dact_jax import errors
from dact_jax.classifier import Classifier
from dact_jax.data.readers import decoding, embeddings, sources
from dact_jax.types import UNLABELED, Dataset, Images, LeftOut

_LISTED = 5  # labels that a note names


class Pool(NamedTuple):
    """N images, in the order of their names."""

    image: Images  # files, which stay closed; or as the run stores images
    id: np.ndarray  # str[N]
    label: np.ndarray  # int32[N] classes of the run; UNLABELED where none is known
    files: tuple[str, ...] | None  # N absolute paths; None: there are no image files
    left_out: tuple[LeftOut, ...]  # what else lies there
    notes: tuple[str, ...]


def read(
    images: str,
    classifier: Classifier,
    *,
    root: str = "",
    max_pixels: int = decoding.MAX_PIXELS,
) -> Pool:
    """Lists images, without opening their files, and what labels they have.

    Args:
      images: as `sources.load` takes it: a folder, a manifest, a list or an .npz file.
      root: folder that paths in manifests and lists are relative to; "": the file's.
      max_pixels: largest width times height of an image file.

    Raises:
      InputError: there are no such images, or the network cannot take them.
    """
    side, channels = classifier.image_shape[0], classifier.image_shape[2]
    if classifier.network.on_vectors:  # the sizes of images that a backbone embeds
        backbone = classifier.backbone
        side, channels = (1, 3) if backbone is None else (backbone.side, 3)
    found = sources.load(
        images,
        size=side,
        channels=channels,
        root=root,
        on_error="unchecked",
        max_pixels=max_pixels,
        scale=classifier.config.data.scale,
        classes=classifier.class_names,
        others=True,
    )
    _check_kind(images, found.image, classifier)
    label = np.full(len(found.label), UNLABELED, np.int32)
    unnamed = _unnamed(images, found)
    if unnamed and not _are_positions(classifier):
        notes = [
            f"The labels of {errors.printable(images)} are numbers without the names "
            f"of their classes, so they are not compared: {unnamed}."
        ]
    else:
        names = found.class_names
        label, notes = _labels(found.label, names, classifier.class_names)
    return Pool(
        image=found.image,
        id=found.id,
        label=label,
        files=found.files and tuple(map(os.path.abspath, found.files)),
        left_out=found.left_out,
        notes=(*found.notes, *notes),
    )


def _check_kind(images: str, image: Images, classifier: Classifier) -> None:
    """Raises InputError if the network cannot take such images or vectors."""
    where = f"--images={errors.printable(images)}"
    if embeddings.are_vectors(image):
        if not classifier.network.on_vectors:
            raise errors.InputError(
                f"{where} holds embeddings, but the run was trained on images: give a "
                "folder of images, a manifest or a list."
            )
        width, needed = image.shape[-1], classifier.image_shape[-1]
        if width != needed:
            raise errors.InputError(
                f"{where} has vectors of {width} numbers, but the run was trained on "
                f"vectors of {needed}: embed the images by the same model."
            )
    elif classifier.network.on_vectors and classifier.backbone is None:
        raise errors.InputError(
            f"{where} holds images, but the run was trained on embeddings in files: "
            "give an .npz file with features of the same model, as python -m "
            "dact_jax.embed writes it."
        )


def _unnamed(images: str, found: Dataset) -> str:
    """What would give names to labels that are bare numbers, a clause; else ""."""
    numbered = found.class_names and all(map(str.isdecimal, found.class_names))
    if numbered and pathlib.PurePath(images).suffix.lower() == ".txt":
        return "write the names of the classes in their place"
    return found.unnamed


def _are_positions(classifier: Classifier) -> bool:
    """Whether a class of the run is called by its position, as bare numbers are."""
    count = len(classifier.class_names)
    return classifier.class_names == tuple(map(str, range(count)))


def _labels(
    label: np.ndarray, names: Sequence[str], classes: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Labels as classes of the run, matched by name; what to say of the others.

    Args:
      label: int32[N] into `names`.
    """
    number = {name: k for k, name in enumerate(classes)}
    numbers = np.array([*(number.get(name, UNLABELED) for name in names), UNLABELED])
    found = numbers[label].astype(np.int32)  # UNLABELED is the index -1
    other = (label != UNLABELED) & (found == UNLABELED)
    if not other.any():
        return found, []
    present = np.unique(label[other])
    listed = ", ".join(errors.printable(names[k]) for k in present[:_LISTED])
    more = f" and {len(present) - _LISTED} more" if len(present) > _LISTED else ""
    return found, [
        f"{int(other.sum())} images have a label that is no class of the run "
        f"({listed}{more}): they do not count for the accuracy."
    ]
