"""The exact nearest neighbors of every row of a pool.

*How.* Products of float32, block by block, leave a few candidates of each row and a
lower bound of all other distances (`candidates`). The candidates' distances are then
computed by differences in float64, and these decide. Where one that is needed may lie
beyond the bound, as among thousands of near-copies, products of float64 do the same;
where too many distances are about equal for that, all such rows are candidates
(`contested`).

*Ties.* Squared distances in float64 that agree to 1e-12 with the next smaller one tie,
and of rows that tie the lowest comes first. Of unit vectors, squared distances below
1e-28 count as 0.

*Memory*, in bytes: 40 N (k + 2) on the host, and blocks of at most 2^27 for each thread
or device, or 2^10 N for each thread where rows are contested. Never N x N.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from dact_jax import devices, errors, vectors
from dact_jax.geometry import distances, points
from dact_jax.geometry.neighbors import candidates, contested, ordering, pools
from dact_jax.geometry.neighbors.candidates import Found, Sizes
from dact_jax.geometry.neighbors.ordering import Nearest
from dact_jax.geometry.neighbors.pools import Distinct, Metric, Pool
from dact_jax.geometry.on_host import workers
from dact_jax.geometry.points import Points
from dact_jax.types import Array

_UNIT_TIE = 1e-28  # of unit vectors: what rounding their numbers to float64 may cause


class Neighbors(NamedTuple):
    """The k nearest rows of each of N rows, nearest first."""

    row: np.ndarray  # int32[N, k]
    # float32[N, k]: Euclidean, or 1 - cos of the angle.
    distance: np.ndarray


def nearest(
    features: Array,
    count: int,
    *,
    metric: Metric = "euclidean",
    mesh: Mesh | None = None,
    resident: bool | None = None,
    sizes: Sizes = candidates.DEFAULT,
) -> Neighbors:
    """The nearest neighbors of each row; a row is not its own, but its copies are.

    Args:
      features: [N, F] real numbers, one row per point: a NumPy array, a memory map
        (which is read block by block, never copied) or a jax array.
      count: k, neighbors of each row. Where N - 1 is less, each row has N - 1.
      metric: "euclidean", or "cosine": 1 - cos of the angle. A row of zeros has no
        direction; its distance to any other is 1/2.
      mesh: the devices that share the work, in one axis "data"; all by default. Every
        process of a `jax.distributed` job must call this with the same arguments.
      resident: whether the features are copied to the devices, split by rows; by
        default on accelerators, where they fit.
      sizes: speed and memory; the neighbors do not depend on it.

    Raises:
      InputError: features are not finite [N, F], or `count` is negative.
    """
    if count < 0:
        raise errors.InputError(f"count={count} neighbors must not be negative.")
    features = vectors.matrix(features)
    count = min(count, len(features) - 1)
    pool = pools.make(features, metric)
    kinds = pools.distinct(pool)
    num = len(kinds.first)
    of_kind = pool._replace(num=num, read=lambda rows: pool.read(kinds.first[rows]))
    floor = _UNIT_TIE if metric == "cosine" else 0.0
    size = num * num * pool.width
    with workers.one_thread_a_product(), jax.enable_x64(True):
        if size <= sizes.plain:
            found = contested.by_differences(
                of_kind, np.arange(num), min(count + 1, num), floor
            )
        else:
            there = None
            if size > sizes.host:
                # Integers of 64 bits are told apart from a row in the middle, but
                # directions are those from 0; they need no more than float32.
                precise = metric == "euclidean" or features.dtype.kind == "f"
                there = _points(features, kinds, mesh, resident, precise)
            found = _searched(there, of_kind, metric, count, floor, sizes)
    row, squared = _of_rows(kinds, found, count)
    distance = squared / 2 if metric == "cosine" else np.sqrt(squared)
    return Neighbors(*devices.from_process_0((row, distance.astype(np.float32))))


def _points(
    features: Array,
    kinds: Distinct,
    mesh: Mesh | None,
    resident: bool | None,
    precise: bool,
) -> Points:
    """The distinct rows, as the devices read them."""
    make = functools.partial(points.make, features, mesh=mesh, precise=precise)
    first = kinds.first
    if len(first) == len(kinds.kind):
        return make(resident=resident)
    whole = make(resident=False)  # its rows can be read in any order
    on_host = whole.read_on_host
    return whole._replace(
        num=len(first),
        read_split=lambda rows: whole.read_split(first[rows]),
        read_replicated=lambda rows: whole.read_replicated(first[rows]),
        read_on_host=on_host and (lambda rows: on_host(first[rows])),
    )


def _searched(
    there: Points | None,
    pool: Pool,
    metric: Metric,
    count: int,
    floor: float,
    sizes: Sizes,
) -> Nearest:
    """The nearest of all rows: by float32, and where that fails by float64.

    Args:
      there: the rows as the devices read them; None: NumPy compares them.
    """
    num, wanted = pool.num, min(count + 1, pool.num)
    result = Nearest(
        np.empty((num, wanted), np.int64),
        np.empty((num, wanted)),
        np.empty((num, wanted), np.int64),
    )

    def write(rows: np.ndarray, found: Nearest) -> None:
        for array, values in zip(result, found, strict=True):
            array[rows] = values

    def decide(found: Found) -> tuple[np.ndarray, Nearest, np.ndarray]:
        squared = pools.squared(pool, found.row, found.candidate)
        ordered = ordering.ordered(found.candidate, squared, floor)
        sure = ordering.reach(ordered, wanted, floor) < found.least
        sure |= found.candidate.shape[1] == num
        return found.row, ordering.first(ordered, wanted), sure

    def settle(searched: Iterable[Found]) -> np.ndarray:
        unsure = []
        for rows, found, sure in workers.each(decide, searched):
            write(rows, found)
            unsure.append(rows[~sure])
        return np.concatenate(unsure)

    def on_host(rows: np.ndarray, spare: int, mode: str) -> Iterable[Found]:
        sample = pool.read(np.linspace(0, num - 1, min(num, 512)).astype(np.int64))
        frame, most = distances.make_frame(sample), min(wanted + spare, num)
        return candidates.search_on_host(
            pool.read, rows, num, frame, metric, most, mode, sizes
        )

    if there is None:
        rows = settle(on_host(np.arange(num), sizes.spare, "float32"))
    else:
        most = min(wanted + sizes.spare, num)
        rows = settle(candidates.search(there, metric, most, sizes))
    if len(rows):
        rows = settle(on_host(rows, sizes.spare_float64, "float64"))
    write(rows, contested.by_products(pool, rows, wanted, floor))
    return result


def _of_rows(
    kinds: Distinct, found: Nearest, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """int32[N, k] rows and float64[N, k] squared distances, of all rows."""
    if len(kinds.first) < len(kinds.kind):
        row, squared = _with_copies(kinds, found, count)
        row, squared = row[kinds.kind], squared[kinds.kind]
    else:
        row, squared = found.kind, found.squared
    other = row != np.arange(len(row))[:, None]
    other[:, -1] &= ~other.all(1)  # one of k + 1 is left out: the row, or the farthest
    row, squared = (x[other].reshape(len(row), count) for x in (row, squared))
    return row.astype(np.int32), squared


def _with_copies(
    kinds: Distinct, found: Nearest, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """[U, k + 1] rows and squared distances, nearest first, copies included."""
    member = np.argsort(kinds.kind, kind="stable")
    size = np.bincount(kinds.kind)
    begin, kept = np.cumsum(size) - size, np.minimum(size, count + 1)
    num = len(kinds.first)
    row, squared = np.empty((num, count + 1), np.int64), np.empty((num, count + 1))
    # Of each kind at most k + 1 rows are of use.
    for part in pools.parts(num, found.kind.shape[1] * int(kept.max())):
        kind = found.kind[part].reshape(-1)
        owner = np.repeat(np.arange(len(found.kind[part])), found.kind.shape[1])
        at = np.repeat(np.arange(len(kind)), kept[kind])
        place = np.arange(len(at)) - np.repeat(
            np.cumsum(kept[kind]) - kept[kind], kept[kind]
        )
        rows = member[begin[kind[at]] + place]
        tie = found.tie[part].reshape(-1)[at]
        order = np.lexsort((rows, tie, owner[at]))
        start = np.searchsorted(owner[at], np.arange(len(found.kind[part])))
        first = order[start[:, None] + np.arange(count + 1)]
        row[part] = rows[first]
        squared[part] = found.squared[part].reshape(-1)[at][first]
    return row, squared
