"""Picked target images as they are shown: the first of each selection, small."""

from collections.abc import Mapping

import numpy as np
from matplotlib import figure

from dact_jax.data.readers import embeddings
from dact_jax.data.readers.files import ImageFiles
from dact_jax.reports.pictures import contact_sheet
from dact_jax.run_types import Run
from dact_jax.types import Domain, Picked

MOST = 2 * contact_sheet.COLUMNS  # images of one selection
_SIDE = 96  # pixels of a file that the run itself has as a vector only


def draw(
    run: Run, number: int, picked: Mapping[str, Picked], label: np.ndarray
) -> figure.Figure | None:
    """The first target images that were picked for round `number`, and their labels.

    Args:
      picked: by side, as a selection gives them.
      label: int32[N_t], the labels that are bought by now.

    Returns:
      None where no target image was picked, or where there are vectors without files.

    Raises:
      InputError: a file cannot be read.
    """
    domain, rows = run.task.target, np.zeros(0, np.int32)
    if "target" in picked:
        rows = picked["target"].row
    if not rows.size or not any_in(domain):
        return None
    chosen = number or picked["target"].origin  # by the acquisition
    by = run.acquisition if chosen else "initial"
    names = run.task.class_names
    made = group(f"Round {number}, {by}", domain, rows, label, names)
    return contact_sheet.draw([made])


def group(
    title: str,
    domain: Domain,
    rows: np.ndarray,
    label: np.ndarray,
    class_names: tuple[str, ...],
) -> contact_sheet.Group:
    """The first of the images in rows of a pool, in their order.

    Args:
      rows: int[n], n >= 1.
      label: int32[N], of the pool; negative: the image is shown without a class.
    """
    shown = rows[:MOST]
    part = f"the first {len(shown)} of " if len(shown) < len(rows) else ""
    images = "image" if len(rows) == 1 else "images"
    return contact_sheet.Group(
        f"{title}: {part}{len(rows)} {images}",
        _load(domain, shown),
        [class_names[k] if k >= 0 else "" for k in label[shown]],
    )


def any_in(domain: Domain) -> bool:
    """Whether a pool has images that can be shown."""
    return not embeddings.are_vectors(domain.train.image) or bool(domain.files)


def _load(domain: Domain, rows: np.ndarray) -> np.ndarray:
    """uint8[n, H, W, C], the images as the run has stored them, or small ones."""
    if not embeddings.are_vectors(domain.train.image):
        return np.asarray(domain.train.image[rows])
    assert domain.files is not None
    paths = tuple(domain.files[row] for row in rows)
    return np.asarray(ImageFiles(paths, _SIDE, 3)[:])
