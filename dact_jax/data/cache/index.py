"""Which images the parts of a folder hold, found by what their files are."""

import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from dact_jax.data.cache import parts
from dact_jax.data.cache.parts import Part
from dact_jax.data.readers.opening import Stamp

_KEY = 16  # bytes


class Places(NamedTuple):
    """Where n images lie."""

    part: np.ndarray  # int32[n] into the parts; -1: the image is not kept
    row: np.ndarray  # int32[n] in that part
    checksum: np.ndarray  # uint32[n]

    def take(self, rows: np.ndarray) -> "Places":
        """Those of some images, int[m] or bool[n]."""
        return Places(*(array[rows] for array in self))

    def or_else(self, others: "Places", first: int) -> "Places":
        """These, else the others, whose parts are counted from `first` on."""
        part = np.where(others.part < 0, others.part, others.part + np.int32(first))
        later = others._replace(part=part)
        kept = self.part >= 0
        return Places(*(np.where(kept, a, b) for a, b in zip(self, later, strict=True)))


class Index(NamedTuple):
    """All images of the parts; the same image may be in two."""

    parts: tuple[Part, ...]
    key: np.ndarray  # uint64[n, 2], sorted
    places: Places  # of n images


def keys(paths: Sequence[str], stamps: Sequence[Stamp]) -> np.ndarray:
    """What kept images are found by, uint64[n, 2].

    The path belongs to it: two files with one size, time and beginning, such as
    uncompressed pictures with equal borders in an archive, are two images.
    """
    # A file's own links are resolved each; those of its folder once.
    folders: dict[str, str] = {}
    found = bytearray()
    for path, stamp in zip(paths, stamps, strict=True):
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        real = os.path.join(folders[folder], name)
        if os.path.islink(real):
            real = os.path.realpath(real)
        text = b"\0".join([os.fsencode(real), *(b"%d" % part for part in stamp)])
        found += hashlib.blake2b(text, digest_size=_KEY).digest()
    return np.frombuffer(bytes(found), "<u8").reshape(-1, 2)


def read(folder: pathlib.Path, identity: bytes, row_bytes: int) -> Index:
    """The index of a folder, which need not exist; damaged parts are removed."""
    found, entries = [], []
    for path in sorted(folder.glob(f"*{parts.SUFFIX}")):
        try:
            part, index = parts.read(path, identity, row_bytes)
        except FileNotFoundError:  # another process has removed it
            continue
        except (parts.DamageError, OSError) as error:
            logging.warning("%s", parts.told(path, error))
            if isinstance(error, parts.DamageError):
                parts.remove(path)
            continue
        found.append(part)
        entries.append(index)
    return of(found, entries)


def of(found: Sequence[Part], entries: Sequence[np.ndarray]) -> Index:
    """The index of parts.

    Args:
      entries: parts.ENTRY[n] of each.
    """
    joined = np.concatenate([np.empty(0, parts.ENTRY), *entries])
    counts = [len(index) for index in entries]
    rows = [np.arange(count, dtype=np.int32) for count in counts]
    places = Places(
        np.repeat(np.arange(len(found), dtype=np.int32), counts),
        np.concatenate([np.empty(0, np.int32), *rows]),
        joined["checksum"],
    )
    order = np.lexsort(joined["key"].T[::-1])
    return Index(tuple(found), joined["key"][order], places.take(order))


def find(index: Index, wanted: np.ndarray) -> Places:
    """Where the images of n keys lie, uint64[n, 2].

    Keys are looked up by their first half; one whose first half another image has too
    counts as not kept, which happens once in 10^5 caches of 10^7 images.
    """
    count = len(index.key)
    if not count:
        nowhere = np.full(len(wanted), -1, np.int32)
        return Places(nowhere, nowhere, np.zeros(len(wanted), np.uint32))
    at = np.minimum(np.searchsorted(index.key[:, 0], wanted[:, 0]), count - 1)
    found = index.places.take(at)
    is_kept = (index.key[at] == wanted).all(1)
    return found._replace(part=np.where(is_kept, found.part, np.int32(-1)))
