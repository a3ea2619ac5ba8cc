"""The pass over image files that checks them, and keeps the pixels of those it decodes.

Files that are kept are only recognized. The others are decoded in groups by all cores,
and each group becomes a part as soon as it is done.
"""

import itertools
import pathlib
import secrets
from collections.abc import Sequence
from concurrent import futures
from typing import NamedTuple

import numpy as np
from absl import logging

from dact_jax import errors, storage
from dact_jax.data import threads
from dact_jax.data.cache import form as forms, index as indexes, parts, room
from dact_jax.data.cache.form import Form
from dact_jax.data.cache.index import Index
from dact_jax.data.cache.kept import Kept
from dact_jax.data.cache.parts import Part
from dact_jax.data.cache.room import Cache
from dact_jax.data.readers import decoding
from dact_jax.data.readers.decoding import Inspection

# A kill loses what was decoded of one part.
PART_BYTES = 2**26  # of a part's pixels, unless one image has more
PART_IMAGES = 4096  # at most, in a part
ABOUT = "about.json"  # says of what form the images in a folder are


class Checked(NamedTuple):
    """What a pass over N files found."""

    seen: list[Inspection]  # of each file
    kept: Kept | None  # pixels of N files, or of some of them; None: of none


class _Work(NamedTuple):
    """Files that are not kept yet, n of N."""

    paths: list[str]
    seen: list[Inspection]  # undecoded
    keys: np.ndarray  # uint64[n, 2]
    form: Form
    identity: bytes
    folder: pathlib.Path  # of the form's parts


class _Made(NamedTuple):
    """What became of some files; not kept are those in no part."""

    seen: dict[int, Inspection]  # by row
    parts: list[tuple[Part, np.ndarray]]  # with their entries, parts.ENTRY[m]


def check(paths: Sequence[str], form: Form, cache: Cache | None, name: str) -> Checked:
    """Checks that files can be decoded, each once, and keeps their pixels.

    Args:
      name: of the images, for messages.
    """
    if cache is None:
        return Checked(_inspect(paths, form), None)
    seen = threads.map_in_order(decoding.glance, paths)
    keys = indexes.keys(paths, [inspection.stamp for inspection in seen])
    identity = forms.identity(form)
    folder = cache.folder / identity.hex()[:16]
    known = indexes.read(folder, identity, form.row_bytes)
    places = indexes.find(known, keys)
    _touch(known, places)  # first, or they might make room for others
    readable = np.array([not inspection.fault for inspection in seen], bool)
    missing = np.flatnonzero(readable & (places.part < 0))
    once, names = _once(keys, missing)
    work = _Work(
        [paths[row] for row in once],
        [seen[row] for row in once],
        keys[once],
        form,
        identity,
        folder,
    )
    made = _decode(work, cache, name)
    for row, at in zip(missing.tolist(), names.tolist(), strict=True):
        seen[row] = made.seen[at]._replace(place=seen[row].place)
    new = indexes.of([part for part, _ in made.parts], [e for _, e in made.parts])
    places = places.or_else(indexes.find(new, keys), len(known.parts))
    if (places.part < 0).all():
        return Checked(seen, None)
    return Checked(seen, Kept(form, (*known.parts, *new.parts), places, set()))


def _once(keys: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows without further names of a file, int[n], and for each row which of them.

    Links give one file several names: it is decoded once.
    """
    _, first, number = np.unique(
        keys[rows], axis=0, return_index=True, return_inverse=True
    )
    rank = np.argsort(np.argsort(first))  # in the order of the rows
    return rows[np.sort(first)], rank[number.reshape(-1)]


def _touch(known: Index, places: indexes.Places) -> None:
    """Notes that the parts of these places are used now."""
    for part in np.unique(places.part[places.part >= 0]).tolist():
        room.touch(known.parts[part].path)


def _inspect(paths: Sequence[str], form: Form) -> list[Inspection]:
    """Decodes files to one pixel; nothing of them is kept."""

    def inspect(path: str) -> Inspection:
        return decoding.inspect(path, max_pixels=form.max_pixels)

    return threads.map_in_order(inspect, paths)


def _decode(work: _Work, cache: Cache, name: str) -> _Made:
    """Checks all n files, and keeps what there is room for."""
    groups = _groups(len(work.paths), work.form)
    made = _Made({}, [])
    if not groups:
        return made
    needed = parts.total_bytes([len(rows) for rows in groups], work.form.row_bytes)
    reason = room.make(cache, needed)
    if not reason:
        reason = _keep(work, groups, made, needed, name)
    left = [row for row in range(len(work.paths)) if row not in made.seen]
    inspected = _inspect([work.paths[row] for row in left], work.form)
    made.seen.update(zip(left, inspected, strict=True))
    readable = sum(not inspection.fault for inspection in made.seen.values())
    unkept = readable - sum(len(entries) for _, entries in made.parts)
    if reason and unkept:
        logging.warning(
            "%s of %s: not kept, but decoded whenever they are used, since %s. "
            "data.cache_dir=FOLDER names another place for them.",
            _count(unkept),
            errors.printable(name),
            reason,
        )
    return made


def _groups(count: int, form: Form) -> list[np.ndarray]:
    """The rows of each part."""
    size = min(max(PART_BYTES // form.row_bytes, 1), PART_IMAGES)
    return [
        np.arange(begin, min(begin + size, count)) for begin in range(0, count, size)
    ]


def _keep(
    work: _Work, groups: Sequence[np.ndarray], made: _Made, needed: int, name: str
) -> str:
    """Decodes groups and adds them to `made`, until a disk fails; why it did, or "".

    A part is written while the next is decoded. Processes that begin at the same time
    begin with different groups, and take what another one has kept by then.
    """
    begin = secrets.randbelow(len(groups))
    writing: futures.Future[None] | None = None
    try:
        with futures.ThreadPoolExecutor(1) as writer:
            for rows in itertools.chain(groups[begin:], groups[:begin]):
                if _take_over(work, rows, made):
                    continue
                images = _examine(work, rows, made)
                if not images:
                    continue
                if writing is None:
                    _announce(work, needed, name)
                else:
                    writing.result()
                writing = writer.submit(_write, work, rows, images, made)
            if writing is not None:
                writing.result()
    except _NotWrittenError as error:
        return str(error)
    return ""


class _NotWrittenError(Exception):
    """Why images cannot be kept, a clause."""


def _not_written(folder: pathlib.Path, error: OSError) -> _NotWrittenError:
    where = errors.printable(str(error.filename or folder))
    return _NotWrittenError(f"{where} cannot be written ({error.strerror})")


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


def _announce(work: _Work, needed: int, name: str) -> None:
    """Says what is about to be written, and makes the folder."""
    try:
        work.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        storage.write_atomic(
            work.folder / ABOUT, forms.described(work.form), shared=True
        )
    except OSError as error:
        raise _not_written(work.folder, error) from None
    logging.warning(
        "%s of %s: decoded once and kept for later runs, %s in %s "
        "(data.cache_dir=FOLDER names another place, none keeps nothing).",
        _count(len(work.paths)),
        errors.printable(name),
        room.size(needed),
        errors.printable(str(work.folder.parent)),
    )


def _take_over(work: _Work, rows: np.ndarray, made: _Made) -> bool:
    """Whether another process has kept the group meanwhile: then it is taken."""
    path = parts.path_of(work.folder, work.keys[rows])
    try:
        part, entries = parts.read(path, work.identity, work.form.row_bytes)
    except (OSError, parts.DamageError):
        return False
    kept = {key.tobytes() for key in entries["key"]}
    rest = [row for row in rows.tolist() if work.keys[row].tobytes() not in kept]
    made.seen.update((row, work.seen[row]) for row in rows.tolist())
    inspected = _inspect([work.paths[row] for row in rest], work.form)
    made.seen.update(zip(rest, inspected, strict=True))  # they could not be decoded
    made.parts.append((part, entries))
    return True


def _examine(work: _Work, rows: np.ndarray, made: _Made) -> dict[int, np.ndarray]:
    """Decodes the files of a group; the pixels by row, where nothing has changed."""
    form = work.form
    images: dict[int, np.ndarray] = {}

    def examine(row: int) -> Inspection:
        inspection, pixels = decoding.examine(
            work.paths[row],
            form.size,
            form.channels,
            filter=form.filter,
            max_pixels=form.max_pixels,
        )
        if pixels is not None and inspection.stamp == work.seen[row].stamp:
            images[row] = pixels
        return inspection

    seen = threads.map_in_order(examine, rows.tolist())
    made.seen.update(zip(rows.tolist(), seen, strict=True))
    return images


def _write(
    work: _Work, rows: np.ndarray, images: dict[int, np.ndarray], made: _Made
) -> None:
    """Makes a part of a group's images."""
    kept = sorted(images)
    path = parts.path_of(work.folder, work.keys[rows])
    keys = work.keys[kept]
    try:
        parts.write(path, work.identity, keys, [images[row] for row in kept])
        made.parts.append(parts.read(path, work.identity, work.form.row_bytes))
    except OSError as error:
        raise _not_written(path, error) from None
    except parts.DamageError as error:
        raise _NotWrittenError(f"{errors.printable(path)}: {error}") from None
