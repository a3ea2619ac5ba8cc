"""Vectors for a dry run: the known ones, and those of a few images, timed."""

import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dact_jax import errors
from dact_jax.data import threads
from dact_jax.data.readers import files, opening
from dact_jax.data.readers.files import ImageFiles
from dact_jax.embedding import parts, sweep
from dact_jax.embedding.sweep import Progress
from dact_jax.models.backbones import Backbone

_WARM_UP = sweep.BATCH  # images that are embedded before the clock starts
_TIMED = 2 * sweep.BATCH


class Sample(NamedTuple):
    """What is known of the vectors of a domain."""

    images: int
    known: int  # whose vectors were kept before
    seconds: float | None  # for an image; None: none was left to embed


def make_embed(
    cache: pathlib.Path, note: Callable[[Sample], object]
) -> Callable[..., np.ndarray]:
    """A function like `sweep.embed` that computes few vectors.

    Rows without a vector get that of another image, so that training takes as long as
    it will. The vectors that were computed are kept.

    Args:
      cache: folder of kept vectors.
      note: receives the sample of each domain.
    """

    def embed(
        images: ImageFiles, backbone: Backbone, *, progress: Progress
    ) -> np.ndarray:
        del progress  # it takes a few seconds
        known = _are_known(images, backbone, cache)
        missing = np.flatnonzero(~known)
        few = missing[np.linspace(0, len(missing) - 1, _count(missing)).astype(int)]
        seconds = _time(images, backbone, cache, few)
        note(Sample(len(images), int(known.sum()), seconds))
        known[few] = True
        some = sweep.embed(files_of(images, known), backbone, cache=cache)
        vectors = some[np.arange(len(images)) % len(some)]
        vectors[known] = some
        return vectors

    return embed


def files_of(images: ImageFiles, rows: np.ndarray) -> ImageFiles:
    """The files of some rows, int[n] or bool[N]."""
    taken = files.take(images, rows)
    assert isinstance(taken, ImageFiles)
    return taken


def _count(missing: np.ndarray) -> int:
    return min(len(missing), _WARM_UP + _TIMED)


def _time(
    images: ImageFiles, backbone: Backbone, cache: pathlib.Path, few: np.ndarray
) -> float | None:
    """Embeds a few images; the seconds for one, after the program was compiled."""
    if not few.size:
        return None
    # A full batch takes as long as its images; the rest of a small sample does not.
    parts_of_few = [few[:_WARM_UP], few[_WARM_UP:]]
    seconds = 0.0
    for part in parts_of_few:
        if part.size:
            began = time.perf_counter()
            sweep.embed(files_of(images, part), backbone, cache=cache)
            seconds = (time.perf_counter() - began) / len(part)
    return seconds


def _are_known(
    images: ImageFiles, backbone: Backbone, cache: pathlib.Path
) -> np.ndarray:
    """bool[N], images whose vectors are kept, by their stamp or their content."""
    kept = parts.read(cache / backbone.identity, backbone.identity, backbone.width)
    if not kept.by_content:
        return np.zeros(len(images), bool)

    def is_known(row: int) -> bool:
        stamp = images.stamp(row)
        if stamp is not None and kept.by_stamp.get(stamp) in kept.by_content:
            return True
        try:
            return opening.content(images.paths[row], stamp)[1] in kept.by_content
        except errors.InputError:  # embedding it says so
            return False

    return np.array(threads.map_in_order(is_known, range(len(images))), bool)
