"""Image files to vectors: only those that no part of the cache holds are computed."""

import collections
import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
import time
from collections.abc import Callable, Generator, Iterator
from concurrent import futures
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from dact_jax import devices, errors
from dact_jax.data.cache.form import Form
from dact_jax.data.readers import decoding, opening
from dact_jax.data.readers.files import ImageFiles, reformed
from dact_jax.data.readers.opening import Stamp
from dact_jax.embedding import parts
from dact_jax.embedding.parts import Kept, Known
from dact_jax.models.backbones import Backbone
from dact_jax.types import PyTree

BATCH = 32  # images that a device embeds at once
LEAST = 2  # XLA compiles a loop of one pass to a program that rounds differently
KEEP_SECONDS = 20.0  # a part is written after so long, or ...
KEEP_IMAGES = 4096  # ... after so many images

Progress = Callable[[int, int], None]  # (images that have their vector, all images)


class _Read(NamedTuple):
    """A file that was opened: its vector, if that is known, else its pixels."""

    row: int
    stamp: Stamp
    content: bytes  # SHA-256; b"" where the stamp was known
    vector: np.ndarray | None  # float32[F]
    pixels: np.ndarray | None  # uint8[side, side, 3]
    fault: str = ""  # why it cannot be read; it has a vector of no numbers then


class _Launched(NamedTuple):
    """A batch that the devices work on."""

    reads: list[_Read]
    vectors: jax.Array  # float32[size, F]; the first len(reads) count


def embed(
    files: ImageFiles,
    backbone: Backbone,
    *,
    cache: pathlib.Path | None = None,
    known: Known | None = None,
    batch: int = BATCH,
    progress: Progress | None = None,
    faults: dict[int, str] | None = None,
) -> np.ndarray:
    """The vectors of image files by a backbone, float32[N, F].

    Threads read and decode the next images while the devices embed a batch. Vectors are
    kept in a folder, so that a second call, also after a kill, computes only those of
    images that are new or have changed. On one machine, a vector does not depend on
    the other images, on their order, or on which were kept.

    Args:
      files: of any size and channels: they are decoded as the backbone needs.
      cache: folder of kept vectors, of any backbones and images; None: none are kept.
      known: vectors that are not computed again; None: those in `cache`.
      batch: images that each device embeds at once.
      progress: is told how far it is.
      faults: gets the row and the reason of each image that cannot be read, whose
        vector is NaN then; None: such an image is an error.

    Raises:
      InputError: an image cannot be read, or has changed since it was listed. The
        vectors that were computed until then are kept.
    """
    vectors = np.full((len(files), backbone.width), np.nan, np.float32)
    folder = None if cache is None else cache / backbone.identity
    if known is None:
        known = known_vectors(backbone, *([] if cache is None else [cache]))
    known = parts.without(known, _repeated(files))
    files = reformed(files, Form(backbone.side, 3, backbone.filter, files.max_pixels))
    ahead = 2 * batch * jax.local_device_count()
    reads = _read_ahead(files, known, ahead=ahead, tolerant=faults is not None)
    with contextlib.closing(reads):
        found = _vectors(reads, files, backbone, batch)
        for done, (read, vector) in enumerate(_kept(found, folder, backbone), 1):
            if read.fault and faults is not None:
                faults[read.row] = read.fault
            else:
                vectors[read.row] = vector
            if progress is not None:
                progress(done, len(files))
    return vectors


def known_vectors(backbone: Backbone, *caches: pathlib.Path) -> Known:
    """The vectors of a backbone that folders of kept vectors hold, which may miss."""
    identity, width = backbone.identity, backbone.width
    found = [parts.read(cache / identity, identity, width) for cache in caches]
    return parts.joined(found, width)


def _repeated(files: ImageFiles) -> list[Stamp]:
    """The stamps that several of the files have."""
    if files.stamps is None:
        return []
    stamps, counts = np.unique(files.stamps, axis=0, return_counts=True)
    return [Stamp(*stamp) for stamp in stamps[counts > 1].tolist()]


def _kept(
    found: Iterator[tuple[_Read, np.ndarray]],
    folder: pathlib.Path | None,
    backbone: Backbone,
) -> Iterator[tuple[_Read, np.ndarray]]:
    """The same, while those that were not known are written to parts."""
    rows: list[Kept] = []
    last = time.monotonic()
    try:
        for read, vector in found:
            if folder is not None and read.content:
                rows.append(Kept(read.stamp, read.content, vector))
            late = time.monotonic() - last > KEEP_SECONDS
            if folder is not None and (late or len(rows) >= KEEP_IMAGES):
                parts.write(folder, backbone.identity, rows)
                rows, last = [], time.monotonic()
            yield read, vector
    finally:
        if folder is not None:
            parts.write(folder, backbone.identity, rows)


def _vectors(
    reads: Iterator[_Read], files: ImageFiles, backbone: Backbone, batch: int
) -> Iterator[tuple[_Read, np.ndarray]]:
    """Each file with its vector: known ones first in a batch, then those computed."""
    mesh = Mesh(np.array(jax.local_devices()), ("data",))  # each process for itself
    size = max(batch, LEAST) * mesh.size
    forward = over(mesh, backbone.forward)
    variables = jax.device_put(backbone.variables, devices.replicated(mesh))
    launched: _Launched | None = None
    waiting: list[_Read] = []
    for read in reads:
        if read.vector is not None:
            yield read, read.vector
            continue
        waiting.append(read)
        if len(waiting) == size:
            before = launched
            launched, waiting = _launch(forward, variables, waiting, size, mesh), []
            yield from _finish(before, files)
    yield from _finish(launched, files)
    if waiting:
        yield from _finish(_launch(forward, variables, waiting, size, mesh), files)


def _launch(
    forward: Callable[[PyTree, jax.Array], jax.Array],
    variables: PyTree,
    reads: list[_Read],
    size: int,
    mesh: Mesh,
) -> _Launched:
    """Starts a batch; one that is not full is filled, so there is one program."""
    pixels = [read.pixels for read in reads]
    images = np.stack(pixels + pixels[-1:] * (size - len(reads)))  # type: ignore[arg-type]
    return _Launched(reads, forward(variables, devices.put(images, mesh)))


def _finish(
    launched: _Launched | None, files: ImageFiles
) -> Iterator[tuple[_Read, np.ndarray]]:
    """The vectors of a batch, as soon as they are computed.

    Raises:
      InputError: one is not finite.
    """
    if launched is None:
        return
    vectors = np.asarray(launched.vectors)
    for read, vector in zip(launched.reads, vectors, strict=False):
        if not np.isfinite(vector).all():
            path = errors.printable(files.paths[read.row])
            raise errors.InputError(
                f"the backbone's vector of {path} is not finite: its weights are "
                "damaged, or of another network."
            )
        yield read, vector


@functools.cache
def over(
    mesh: Mesh, forward: Callable[[PyTree, jax.Array], jax.Array]
) -> Callable[[PyTree, jax.Array], jax.Array]:
    """The forward pass with its batch split over all devices, each for itself."""
    split = PartitionSpec("data")
    return jax.jit(
        jax.shard_map(
            forward,
            mesh=mesh,
            in_specs=(PartitionSpec(), split),
            out_specs=split,
            check_vma=False,
        )
    )


def _read_ahead(
    files: ImageFiles, known: Known, *, ahead: int, tolerant: bool
) -> Generator[_Read, None, None]:
    """The files in their order, read by threads before they are needed.

    Args:
      ahead: at most so many wait to be used.
      tolerant: whether a file that cannot be read is told, not raised.
    """
    read = functools.partial(_read_or_fault if tolerant else _read, files, known)
    rows = iter(range(len(files)))
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        started = collections.deque(
            pool.submit(read, row) for row in itertools.islice(rows, ahead)
        )
        try:
            while started:
                yield started.popleft().result()
                for row in itertools.islice(rows, 1):
                    started.append(pool.submit(read, row))
        finally:
            pool.shutdown(cancel_futures=True)


def _read_or_fault(files: ImageFiles, known: Known, row: int) -> _Read:
    """As `_read`, but with the fault of a file that cannot be read."""
    try:
        return _read(files, known, row)
    except errors.InputError:
        seen = decoding.inspect(files.paths[row], max_pixels=files.max_pixels)
        if not seen.fault:  # it was being written, or is not what was listed
            return _read(files, known, row)
        return _Read(row, seen.stamp, b"", np.zeros(0, np.float32), None, seen.fault)


def _read(files: ImageFiles, known: Known, row: int) -> _Read:
    """One file: its vector, or else its pixels.

    Raises:
      InputError: it cannot be read, or has changed since it was listed.
    """
    stamp = files.stamp(row)
    if stamp is None:  # listed without a look at the file
        stamp = opening.stamp(files.paths[row])
    vector = known.of_stamp(stamp)
    if vector is not None:
        return _Read(row, stamp, b"", vector, None)
    stamp, content = opening.content(files.paths[row], stamp)
    vector = known.of_content(content)
    if vector is not None:
        return _Read(row, stamp, content, vector, None)
    pixels = dataclasses.replace(
        files,
        paths=files.paths[row : row + 1],
        stamps=np.array([stamp], np.int64),
    )[0]
    return _Read(row, stamp, content, None, pixels)
