"""Real images or vectors on which an exported model is compared with ours."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dact_jax import errors
from dact_jax.classifier import Classifier
from dact_jax.configuration.domains import reading
from dact_jax.data import inputs
from dact_jax.data.readers import decoding
from dact_jax.data.readers.files import ImageFiles
from dact_jax.exporting import description
from dact_jax.exporting.description import Pixels
from dact_jax.prediction import pool
from dact_jax.types import Images


class Samples(NamedTuple):
    stored: np.ndarray  # uint8[n, side, side, C], or vectors float32[n, F]
    about: str  # what they are, for a sentence
    kind: str  # "target", "given" or "random"


def take(classifier: Classifier, count: int, images: str = "") -> Samples:
    """Images of the run's target, or others; invented ones if the data are gone.

    Args:
      count: how many at most, evenly spread.
      images: as `pool.read` takes it; "": the target of the run, where it was.

    Raises:
      InputError: `images` cannot be read.
    """
    pixels = description.pixels(classifier)
    config = classifier.config.copy_and_resolve_references()
    config.data.scale = "raw"  # the exported model scales vectors itself
    if images:
        found = pool.read(images, classifier._replace(config=config)).image
        stored = _spread(found, pixels, count)
        return Samples(stored, f"of {errors.printable(images)}", "given")
    try:
        target = reading.domains(config, unchecked=True)[1].image
        stored = _spread(target, pixels, count)
    except (errors.InputError, OSError) as error:
        reason = errors.clause(error)
        what = "vectors" if pixels is None else "pixels"
        about = f"of random {what}, since the run's data cannot be read ({reason})"
        invented = _invented(pixels, classifier.image_shape[-1], count)
        return Samples(invented, about, "random")
    name = errors.printable(config.data.target)
    return Samples(stored, f"of the run's target ({name})", "target")


def _spread(images: Images, pixels: Pixels | None, count: int) -> np.ndarray:
    """At most `count` rows in the form of `Samples.stored`.

    Raises:
      InputError: none can be read.
    """
    rows = np.unique(np.linspace(0, len(images) - 1, count).astype(np.int64))
    if pixels is None:
        return np.asarray(images[rows]).reshape(len(rows), -1)
    if not isinstance(images, ImageFiles):
        form = pixels.side, pixels.channels
        return np.asarray(inputs.as_images(np.asarray(images[rows]), *form)[:])
    return _decoded([images.paths[row] for row in rows], pixels)


def _decoded(paths: Sequence[str], pixels: Pixels) -> np.ndarray:
    """The images of files; those that cannot be read are passed over."""
    form: dict[str, Any] = {"size": pixels.side, "channels": pixels.channels}
    found, fault = [], errors.InputError("there are none.")
    for path in paths:
        try:
            found.append(decoding.decode(path, filter=pixels.filter, **form))
        except errors.InputError as error:
            fault = error
    if not found:
        raise fault
    return np.stack(found)


def _invented(pixels: Pixels | None, width: int, count: int) -> np.ndarray:
    random = np.random.default_rng(0)
    if pixels is None:
        return random.standard_normal((count, width)).astype(np.float32)
    shape = count, pixels.side, pixels.side, pixels.channels
    return random.integers(0, 256, shape).astype(np.uint8)
