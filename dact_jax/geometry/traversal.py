"""A selection under way: what is known of the points, and bringing it up to date."""

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from dact_jax import devices
from dact_jax.geometry import bounds, cells, distances, nearest, points
from dact_jax.geometry.bounds import Bounds
from dact_jax.geometry.distances import Centers, Frame
from dact_jax.geometry.nearest import Found, Tiles
from dact_jax.geometry.points import Points

CANDIDATES = 256  # most points that picks are made among at once
_BLOCK = 4096  # points compared with centres at once
_FRESH = 512  # and with all centres, after those of their cell
_LARGE = 2**18  # points; of more, blocks are larger
_LARGEST = 8  # times
_EARLY = 128  # centres, too few to save much by comparing fewer points with all
_PARTED = 2**22  # fewest pairs of points and centres that cells pay for
_SAMPLE = 512  # points that decide the frame and the cells
_FEW = Tiles(64, 8)
_MANY = Tiles(256, 32)
_WIDE = Tiles(1024, 64)  # of an accelerator
_SPARE = max(CANDIDATES, _WIDE.centers)  # centres there is room for beyond the last
_ROOM = 1024  # fewest centres that there is room for


class Search(NamedTuple):
    """A selection under way."""

    pool: Points
    frame: Frame
    pivots: jax.Array  # float32[cells, F], in the frame
    mode: str  # of the products
    centers: Centers
    point: np.ndarray  # float32[C, F], the centres on the host; written to
    row: np.ndarray  # int[C], of each centre; written to
    num: int  # centres
    known: Bounds  # written to
    blur: float = 0.0  # largest error of a distance among candidates


def begin(pool: Points, chosen: np.ndarray, budget: int) -> Search:
    """A selection for which all points are compared with a centre.

    Args:
      pool: the points.
      chosen: int[L], rows that are chosen already, at least one.
      budget: of picks to come.

    Raises:
      InputError: a point is not finite, or too long.
    """
    at, some = points.sample(pool, _SAMPLE)
    points.check_finite(at, points.short(some))
    host, total = distances.frame(some), len(chosen) + budget
    # A product of a few centres is nothing to an accelerator.
    parted = _on_cpu(pool) and pool.num * total >= _PARTED
    num = cells.number(total) if parted else 1
    # One shape until all processes have the same: whether cells tell is rounded, too.
    means = devices.from_process_0(cells.pivots((some - host.origin) * host.scale, num))
    means = means[:1] if (means == means[0]).all() else means
    pivots = devices.put(means, pool.mesh, split=False)
    frame = Frame(*(devices.put(x, pool.mesh, split=False) for x in host))
    # Powers of two: few shapes, so few compilations over a run's rounds.
    room = max(_ROOM, 2 ** math.ceil(math.log2(total + _SPARE)))
    row = np.resize(chosen, room)  # what is beyond them becomes padding
    point = np.array(pool.shared(row))
    centers = _prepared(pool, point, len(chosen), frame, "float32")
    known = bounds.unknown(pool.rows, np.append(chosen, np.arange(pool.num, pool.rows)))
    return _sweep(
        Search(pool, frame, pivots, "float32", centers, point, row, len(chosen), known)
    )


def _on_cpu(pool: Points) -> bool:
    return bool(pool.mesh.devices.flat[0].platform == "cpu")


def _prepared(
    pool: Points, point: np.ndarray, count: int, frame: Frame, mode: str
) -> Centers:
    """The centres that there are, for products of a precision."""
    put = functools.partial(devices.put, mesh=pool.mesh, split=False)
    dtype = np.float32 if mode == "float32" else np.float64
    none = np.full(len(point), np.inf, dtype)
    centers = Centers(put(np.zeros(point.shape, dtype)), put(none))
    for start in range(0, count, CANDIDATES):
        some, num = put(point[start : start + CANDIDATES]), count - start
        order = np.arange(CANDIDATES, dtype=np.int32)
        centers = distances.append(
            centers, some, order, np.int32(start), np.int32(num), frame, mode=mode
        )
    return centers


def append(
    search: Search, rows: np.ndarray, held: jax.Array, picked: np.ndarray
) -> Search:
    """Goes on with more centres.

    Args:
      search: whose rows and points of centres are written to.
      rows: int[CANDIDATES], of the candidates.
      held: float32[CANDIDATES, F], these points.
      picked: int[n], which of them are picked, in turn.
    """
    count, num = search.num, len(picked)
    search.row[count : count + num] = rows[picked]
    search.point[count : count + num] = np.asarray(held)[picked]
    centers = distances.append(
        search.centers,
        held,
        np.resize(picked, CANDIDATES).astype(np.int32),
        np.int32(count),
        np.int32(num),
        search.frame,
        mode=search.mode,
    )
    return search._replace(centers=centers, num=count + num)


def sharpen(search: Search) -> Search:
    """Goes on with more precise distances; all that was found with others is void.

    Args:
      search: whose mode is not the last of MODES.
    """
    mode = distances.MODES[distances.MODES.index(search.mode) + 1]
    centers = _prepared(search.pool, search.point, search.num, search.frame, mode)
    bounds.forget(search.known)
    return _sweep(search._replace(mode=mode, centers=centers))


def _sweep(search: Search) -> Search:
    """Surveys all points, and compares them with the first centres."""
    pool, known = search.pool, search.known
    tiles = _FEW if _on_cpu(pool) else _WIDE
    first = min(search.num, tiles.centers)
    for rows, block in points.blocks(pool, _size(pool, _block(pool), tiles)):
        found = nearest.survey(
            block,
            search.pivots,
            search.centers,
            search.frame,
            over=pool.mesh,
            mode=search.mode,
            tiles=tiles,
        )
        found = jax.device_get(found)
        points.check_finite(rows, found.finite)
        bounds.learn_once(known, rows, found)
        _learn(search, rows, found.found, first, everywhere=True)
    return search if first == search.num else refresh(search, math.inf)


def refresh(search: Search, least: float) -> Search:
    """Brings those up to date that may be the farthest.

    Most are seen not to be when they are compared with the centres of their cell.

    Args:
      search: under way; what it knows is written to.
      least: a squared distance that some point is known to have.
    """
    pool, known, count = search.pool, search.known, search.num
    block, tiles = _block(pool), _MANY if _on_cpu(pool) else _WIDE
    if len(search.pivots) > 1:
        _try_cells(search, least, block)
        fresh = min(block, _FRESH * _growth(pool) ** 2)
        block, tiles = (block, _FEW) if count < _EARLY else (fresh, _MANY)
    size = _size(pool, block, tiles)
    rows = bounds.promising(known, known.seen < count, size, pool.part, least)
    alike = np.arange(len(search.row), dtype=np.int32)
    order = devices.put(alike, pool.mesh, split=False)
    for some in _blocks(rows, size, known.seen.astype(np.int64)):
        seen = _unseen(known.bound[some], known.seen[some], count)
        first = seen.reshape(-1, tiles.points).min(-1)
        span = np.stack([first, np.full_like(first, count)], -1)
        _compare(search, some, span, order, tiles, everywhere=True)
    return search


def _try_cells(search: Search, least: float, block: int) -> None:
    pool, known, count = search.pool, search.known, search.num
    if not bounds.stale(known, known.tried, least, count):
        return
    size = _size(pool, block, _FEW)
    rows = bounds.promising(known, known.tried < count, size, pool.part, least)
    table = cells.table(known.cell[search.row[:count]], len(search.row))
    order = devices.put(table.order, pool.mesh, split=False)
    key = known.cell * np.int64(len(search.row)) + known.tried
    for some in _blocks(rows, size, key):
        tried = _unseen(known.bound[some], known.tried[some], count)
        span = cells.spans(table, known.cell[some], tried, _FEW.points)
        _compare(search, some, span, order, _FEW, everywhere=False)


def _unseen(bound: np.ndarray, seen: np.ndarray, count: int) -> np.ndarray:
    """What is picked, or is no point, has nothing left to see."""
    return np.where(bound >= 0, seen, count)


def _blocks(rows: np.ndarray, size: int, key: np.ndarray) -> Iterator[np.ndarray]:
    """int[parts * size], rows of each part in the order of int64 keys."""
    num = rows.shape[1]
    # One sort of numbers that differ is a fraction of a stable one with its order.
    rows = np.array([r[np.sort(key[r] * num + np.arange(num)) % num] for r in rows])
    for start in range(0, num, size):
        yield rows[:, start : start + size].reshape(-1)


def _block(pool: Points) -> int:
    """Points to compare at once: of a small pool not all, or nothing is saved."""
    return min(_BLOCK * _growth(pool), pool.rows // 4)


def _growth(pool: Points) -> int:
    """How much larger blocks are: the host looks at all rows for each of them."""
    return min(_LARGEST, 2 ** math.ceil(math.log2(max(1, pool.num / _LARGE))))


def _size(pool: Points, wanted: int, tiles: Tiles) -> int:
    """Rows of each part in a block: a multiple of what is compared at once."""
    each = max(1, wanted // (tiles.points * pool.mesh.size)) * tiles.points
    return each * (pool.mesh.size // pool.parts)


def _compare(
    search: Search,
    rows: np.ndarray,
    span: np.ndarray,
    order: jax.Array,
    tiles: Tiles,
    *,
    everywhere: bool,
) -> None:
    """Compares rows with the centres of a span of `order`."""
    pool, mesh = search.pool, search.pool.mesh
    found = nearest.two_nearest(
        pool.split(rows),
        devices.put(span.astype(np.int32), mesh),
        order,
        search.centers,
        search.frame,
        over=mesh,
        mode=search.mode,
        tiles=tiles,
    )
    _learn(search, rows, jax.device_get(found), search.num, everywhere=everywhere)


def _learn(
    search: Search, rows: np.ndarray, found: Found, count: int, *, everywhere: bool
) -> None:
    bounds.learn(
        search.known,
        rows,
        found,
        count,
        everywhere=everywhere,
        width=search.pool.width,
        mode=search.mode,
        blur=search.blur,
    )
