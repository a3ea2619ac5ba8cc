"""The folder of kept images: where it is, and how large it may become."""

import contextlib
import os
import pathlib
import shutil
import time
from typing import NamedTuple

from absl import logging

from dact_jax import errors, storage
from dact_jax.data.cache import parts

LIMIT = 32 * 2**30  # bytes of all kept images in the user's caches
RECENT = 24 * 3600.0  # seconds after its last use in which a part is not removed
_SHARE = 2  # of the free disk, the user's caches take one part in so many
_SPARE = 2**28  # bytes that are left on a disk whose folder was chosen
NONE = "none"  # in place of a folder: nothing is kept


class Cache(NamedTuple):
    """A folder of kept images of any form."""

    folder: pathlib.Path
    limit: int | None = None  # bytes that it may have; None: as much as the disk has


def cache_of(place: str) -> Cache | None:
    """The cache that `data.cache_dir` names; None: nothing is kept.

    Args:
      place: a folder, "none", or "": in the user's caches.

    Raises:
      InputError: it names a file, or a folder that cannot be made.
    """
    if place == NONE:
        return None
    if not place:
        try:
            return Cache(storage.user_cache() / "images", LIMIT)
        except OSError as error:  # no home folder, as in some containers
            logging.warning(
                "Decoded images are not kept: %s, or data.cache_dir.", error.strerror
            )
            return None
    folder = pathlib.Path(place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "is not a folder" if folder.exists() else error.strerror
        raise errors.InputError(
            f"data.cache_dir={errors.printable(place)} cannot be used "
            f"({reason}): name a folder, or write 'none' to keep no decoded images."
        ) from None
    return Cache(folder)


def make(cache: Cache, needed: int) -> str:
    """Makes room for further images, where the oldest in the user's caches may go.

    Args:
      needed: bytes.

    Returns:
      Why they cannot be kept, a clause; "" if they can.
    """
    where = errors.printable(cache.folder)
    try:
        cache.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(cache.folder, os.W_OK | os.X_OK):
            return f"{where} is not writable"
        free = shutil.disk_usage(cache.folder).free
    except OSError as error:
        return f"{where}: {error.strerror}"
    if cache.limit is None:
        if needed + _SPARE > free:
            return f"the disk of {where} has {size(free)} left for {size(needed)}"
        return ""
    return _within(cache.folder, cache.limit, needed, free)


def _within(folder: pathlib.Path, limit: int, needed: int, free: int) -> str:
    """`make` for a folder with a limit."""
    where = errors.printable(folder)
    old, recent, now = [], 0, time.time()
    for path in [*folder.glob(f"*/*{parts.SUFFIX}"), *folder.glob("*/*.tmp")]:
        with contextlib.suppress(OSError):  # another process has removed it
            status = path.stat()
            if now - status.st_mtime < RECENT:
                recent += status.st_size
            else:
                old.append((status.st_mtime, status.st_size, path))
    if recent + needed > limit:
        used = f", of which {size(recent)} were used within a day" * bool(recent)
        return f"{where} may take {size(limit)}{used}, and {size(needed)} are needed"
    total = recent + sum(entry[1] for entry in old)
    if needed > (free + total - recent) // _SHARE:
        return (
            f"the disk of {where} has {size(free)} left, and {size(needed)} are needed"
        )
    for _, length, path in sorted(old):
        is_draft = not path.name.endswith(parts.SUFFIX)  # of a killed process
        if is_draft or total + needed > limit or needed > free // _SHARE:
            parts.remove(path)
            total, free = total - length, free + length
    return ""


def touch(path: pathlib.Path) -> None:
    """Notes that a part is used now."""
    with contextlib.suppress(OSError):  # a folder that is only read
        os.utime(path)


def size(count: int) -> str:
    """Bytes for a person, such as "240 MB"."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count / 1000:.0f} kB"
