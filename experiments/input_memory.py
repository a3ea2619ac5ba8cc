"""A pool of many synthetic records on the disk: what draws and a sweep of it take.

The records lie in a sparse file, as kept images do, so a pool of 10 million needs no
disk; ids and labels are in memory, pixels are not.
"""

import pathlib
import resource
import time
import zlib
from typing import Any

import jax
import numpy as np

from dact_jax.data import joined, streams
from dact_jax.data.cache.form import Form
from dact_jax.data.cache.index import Places
from dact_jax.data.cache.kept import Kept
from dact_jax.data.cache.parts import Part
from dact_jax.training import feeding, inference
from dact_jax.types import (
    TARGET,
    BatchSizes,
    Domain,
    Examples,
    Pools,
    Task,
)

SIZES = BatchSizes(32, 32, 64)


class Records:
    """Records of one file as uint8[N, size, size, channels], read when indexed."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self.shape = (len(kept.places.row), *kept.form.shape)
        self.dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        """Number of records."""
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """The records of some rows; an error if one is damaged."""
        rows = joined.rows_of(index, len(self))
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        if not self._kept.read(rows, images).all():
            raise ValueError("a record is damaged")
        return images


def records(path: pathlib.Path, count: int, form: Form) -> Records:
    """Black images in a sparse file that is made."""
    with path.open("wb") as file:
        file.truncate(count * form.row_bytes)
    checksum = zlib.crc32(bytes(form.row_bytes))
    places = Places(
        np.zeros(count, np.int32),
        np.arange(count, dtype=np.int32),
        np.full(count, checksum, np.uint32),
    )
    return Records(Kept(form, (Part(path, 0, form.row_bytes),), places, set()))


def task(images: Records) -> Task:
    """Two domains with the same images, in ten classes."""
    label = (np.arange(len(images)) % 10).astype(np.int32)
    train = Examples(images, label)
    empty = Examples(images[:0], label[:0])
    id = np.char.mod("%08d", np.arange(len(images)))
    source, target = (Domain(name, train, empty, empty, id) for name in ("s", "t"))
    return Task(source, target, tuple("abcdefghij"), None)


def use(task: Task, *, batches: int, batch_size: int) -> None:
    """Draws batches from one epoch and the next, and sweeps over the target."""
    count = len(task.target.train.label)
    pools = Pools(np.ones(count, bool), np.arange(count) % 100 == 0)
    label = np.asarray(task.target.train.label)
    for start in (0, count // SIZES.source):  # in the first epoch of each, and later
        drawn = streams.batches(task, pools, label, SIZES, jax.random.key(0), start)
        feeding.stacked(drawn, batches, batches)

    @jax.jit
    def mean(images: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        rows = images.reshape(len(images), -1).astype(np.float32).mean(-1)
        return rows[:, None], {"classifier": rows[:, None]}

    inference.sweep(
        lambda variables, images, domain: mean(images),
        (),
        task.target.train,
        TARGET,
        batch_size=batch_size,
    )


def measure(folder: pathlib.Path, count: int, form: Form) -> dict[str, float]:
    """Peak memory of this process after it has used so many records, in bytes."""
    began = time.perf_counter()
    pool = task(records(folder / "records", count, form))
    use(pool, batches=25, batch_size=1024)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"records": count, "peak": peak, "seconds": time.perf_counter() - began}
