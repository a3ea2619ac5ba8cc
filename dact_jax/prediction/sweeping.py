"""One pass of a network over many images, in parts, so that memory stays flat."""

import pathlib
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, NamedTuple

import jax
import numpy as np

from dact_jax import errors
from dact_jax.classifier import Classifier
from dact_jax.data import inputs, threads
from dact_jax.data.readers import decoding, embeddings, files
from dact_jax.data.readers.files import ImageFiles
from dact_jax.embedding import sweep as embedding
from dact_jax.embedding.parts import Known
from dact_jax.embedding.sweep import Progress
from dact_jax.types import Images

VECTORS = 1024  # rows of a part of vectors, and of images that a backbone embeds


class Part(NamedTuple):
    """What the network gives for some of the images, which follow one another."""

    row: np.ndarray  # int64[n], images that could be read
    logits: np.ndarray  # float32[n, K]
    embedding: np.ndarray  # float32[n, F], by the adapted encoder
    faults: dict[int, str]  # the other rows -> why they cannot be read


class Caches(NamedTuple):
    """Where vectors of a backbone are kept."""

    written: pathlib.Path | None  # folder for those that are computed; None: none is
    known: Known  # those that were computed before


NOT_KEPT = Caches(None, Known({}, {}))


class _Stored(NamedTuple):
    """Images as the network takes them."""

    row: np.ndarray
    images: Images
    faults: dict[int, str]


def parts(
    classifier: Classifier,
    images: Images,
    *,
    batch: int = 0,
    caches: Caches = NOT_KEPT,
    progress: Progress = lambda done, total: None,
) -> Iterator[Part]:
    """What the network gives for images, in their order.

    While the devices compute, a thread reads what comes next.

    Args:
      images: files of any size, images as the run stores them, or vectors.
      batch: images of one forward pass, of the backbone where there is one; 0: as the
        run's own.
      caches: of the backbone's vectors.
      progress: is told how many images are done, at least after each part.

    Raises:
      InputError: the network's output is not finite.
    """
    count = len(images)
    vectors = classifier.backbone is not None or embeddings.are_vectors(images)
    passes = classifier.network.batch if vectors or not batch else batch
    passes = -(-passes // jax.device_count()) * jax.device_count()
    size = VECTORS if vectors else passes
    embeds = classifier.backbone is not None and isinstance(images, ImageFiles)
    read = _reader(classifier, images, batch, caches, progress)
    ranges = [np.arange(a, min(a + size, count)) for a in range(0, count, size)]
    with futures.ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(read, ranges[0]) if ranges else None
        for number, row in enumerate(ranges, 1):
            assert coming is not None
            stored = coming.result()
            if number < len(ranges):
                coming = ahead.submit(read, ranges[number])
            # All passes are of one size, so the network is compiled once.
            few = 0 if count <= passes else passes
            found = classifier.sweep(stored.images, batch_size=few)
            yield Part(
                stored.row,
                found.outputs["classifier"],
                found.embedding,
                stored.faults,
            )
            if not embeds:  # that is what takes the time, and tells of each image
                progress(int(row[-1]) + 1, count)


def _reader(
    classifier: Classifier,
    images: Images,
    batch: int,
    caches: Caches,
    progress: Progress,
) -> Callable[[np.ndarray], _Stored]:
    """The function that reads the images of some rows, in any form."""
    if not isinstance(images, ImageFiles):
        is_stored = classifier.backbone is None or embeddings.are_vectors(images)

        def read(row: np.ndarray) -> _Stored:
            part = np.asarray(images[row])
            return _Stored(row, part if is_stored else classifier.prepare(part), {})

        return read
    backbone = classifier.backbone
    if backbone is None:
        return lambda row: _decode(images, row)

    def embed(row: np.ndarray) -> _Stored:
        faults: dict[int, str] = {}
        begin, some = int(row[0]), files.take(images, row)
        assert isinstance(some, ImageFiles)
        found = embedding.embed(
            some,
            backbone,
            cache=caches.written,
            known=caches.known,
            batch=batch or embedding.BATCH,
            progress=lambda done, _: progress(begin + done, len(images)),
            faults=faults,
        )
        good = np.array([k not in faults for k in range(len(row))], bool)
        width, scale = classifier.image_shape[-1], classifier.config.data.scale
        stored = inputs.as_vectors(found[good], width, scale)
        return _Stored(row[good], stored, {begin + k: v for k, v in faults.items()})

    return embed


def _decode(images: ImageFiles, row: np.ndarray) -> _Stored:
    """The pixels of the files that can be read, and the faults of the others."""

    some = files.take(images, row)
    assert isinstance(some, ImageFiles)

    def decode(number: int) -> Any:
        try:
            return some[number]
        except errors.InputError:
            seen = decoding.inspect(some.paths[number], max_pixels=some.max_pixels)
            return seen.fault or some[number]  # it was being written

    found = threads.map_in_order(decode, range(len(row)))
    good = np.array([not isinstance(what, str) for what in found], bool)
    faults = {
        int(k): what
        for k, what in zip(row, found, strict=True)
        if isinstance(what, str)
    }
    pixels = [what for what in found if not isinstance(what, str)]
    empty = np.zeros((0, *images.shape[1:]), np.uint8)
    return _Stored(row[good], np.stack(pixels) if pixels else empty, faults)
