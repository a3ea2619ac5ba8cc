"""The few rows that may be among the nearest of each row, by products of float32.

A value is an upper bound of a squared distance (`distances`), and all rows left out
have one at least as large as the largest that is kept. So their squared distances are
at least `least`: whoever needs only rows that are nearer need not look at them.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from dact_jax import devices
from dact_jax.geometry import distances, points
from dact_jax.geometry.distances import Frame
from dact_jax.geometry.neighbors import pools
from dact_jax.geometry.neighbors.pools import Metric
from dact_jax.geometry.on_host import workers
from dact_jax.geometry.points import Points

_ROWS, _ALL = PartitionSpec("data"), PartitionSpec()
_SAMPLE = 512  # rows from which the frame is computed


class Sizes(NamedTuple):
    """What decides speed and memory."""

    rows: int = 1024  # whose nearest are searched at once, by a device or a thread
    columns: int = 2048  # that they are compared with at once
    spare: int = 8  # candidates more than are needed
    spare_float64: int = 64  # likewise, where float32 could not decide
    # Numbers of N N F up to which all is done by differences, without products.
    plain: int = 2**22
    # The same up to which NumPy does it whatever the devices are: nothing is compiled.
    host: int = 2**34


DEFAULT = Sizes()


class Found(NamedTuple):
    """Candidates of n rows, in any order."""

    row: np.ndarray  # int64[n]
    candidate: np.ndarray  # int64[n, m]
    least: np.ndarray  # float64[n], lower bound of squared distances to all others


def search(pool: Points, metric: Metric, num: int, sizes: Sizes) -> Iterator[Found]:
    """Yields the candidates of all rows, each row once, products being float32.

    Args:
      pool: of the points as given.
      metric: "cosine": they are divided by their length first.
      num: m, the number of candidates of each row, itself included; at most N.
      sizes: of blocks.
    """
    _, sample = points.sample(pool, _SAMPLE)
    frame = distances.make_frame(_placed(metric)(sample))
    if pool.read_on_host is not None:
        rows = np.arange(pool.num)
        yield from search_on_host(
            pool.read_on_host, rows, pool.num, frame, metric, num, "float32", sizes
        )
        return
    sharing = pool.mesh.size // pool.parts  # devices that share the rows of a part
    size = sharing * min(sizes.rows, -(-pool.part // sharing))
    replicated = functools.partial(devices.put, mesh=pool.mesh, split=False)
    there = jax.tree.map(lambda x: replicated(np.asarray(x)), frame)
    compare = functools.partial(_compare, metric=metric, mesh=pool.mesh)
    for rows, x in points.blocks(pool, size):
        width = len(rows), num
        value = devices.put(np.full(width, np.inf, np.float32), pool.mesh)
        best = value, devices.put(np.full(width, -1, np.int32), pool.mesh)
        for first in range(0, pool.num, sizes.columns):
            column = first + np.arange(sizes.columns)
            others = pool.read_replicated(np.minimum(column, pool.num - 1))
            column = np.where(column < pool.num, column, -1).astype(np.int32)
            best = compare(best, x, others, replicated(column), there)
        worst = devices.whole(best[0]).max(1)
        norm = devices.whole(_norm(x, there, metric=metric))
        rows, at = np.unique(rows, return_index=True)  # a block may repeat a row
        at, rows = at[rows < pool.num], rows[rows < pool.num]
        least = _least(worst[at], norm[at], frame, pool.width, metric)
        yield Found(rows, devices.whole(best[1])[at].astype(np.int64), least)


def search_on_host(
    read: Callable[[np.ndarray | slice], np.ndarray],
    rows: np.ndarray,
    total: int,
    frame: Frame,
    metric: Metric,
    num: int,
    mode: str,
    sizes: Sizes,
) -> Iterator[Found]:
    """Yields the candidates of some rows, by NumPy in threads.

    Args:
      read: rows of the pool -> their points as given, float[n, F].
      rows: int[n], those whose candidates are searched.
      total: rows of the pool.
      frame: of the products.
      metric: "cosine": points are divided by their length first.
      num: m, as in `search`.
      mode: "float32" or "float64", of the products.
      sizes: of blocks.
    """
    dtype = np.dtype(mode)

    def placed(at: np.ndarray | slice) -> np.ndarray:
        there = _placed(metric)(read(at))
        moved = there - frame.origin
        moved *= moved.dtype.type(frame.scale)
        return moved.astype(dtype, copy=False)

    def find(part: np.ndarray) -> Found:
        x = placed(part)
        width, norm = x.shape[1], np.einsum("nf,nf->n", x, x)
        x *= -2
        best = None
        for first in range(0, total, sizes.columns):
            others = placed(slice(first, min(first + sizes.columns, total)))
            value = x @ others.T
            value += _raised(np.einsum("nf,nf->n", others, others), width, mode)
            best = _merged(best, value, first, num)
        assert best is not None
        least = _least(best[0].max(1), norm, frame, width, metric, mode)
        return Found(part, best[1], least)

    size = max(1, min(sizes.rows, -(-len(rows) // workers.COUNT)))
    cut = range(0, len(rows), size)
    yield from workers.each(find, (rows[i : i + size] for i in cut))


def _placed(metric: Metric) -> Callable:
    return pools.normalized if metric == "cosine" else lambda points: points


def _raised(norm: np.ndarray, width: int, mode: str) -> np.ndarray:
    """[C], |c|^2 in the frame, rounded up so that values are upper bounds."""
    error = norm.dtype.type(distances.relative_error(width, mode))
    return (1 + error) * norm + error * norm.dtype.type(distances.underflow(mode))


def _merged(
    best: tuple[np.ndarray, np.ndarray] | None, value: np.ndarray, first: int, num: int
) -> tuple[np.ndarray, np.ndarray]:
    """The `num` lowest of the values so far and of a block [n, C].

    Args:
      best: values [n, m] and columns int64[n, m], m <= num; None: none so far.
      value: [n, C], of columns first .. first + C - 1.
      first: of the columns.
      num: how many are kept.
    """
    if best is None:
        column = np.broadcast_to(np.arange(first, first + value.shape[1]), value.shape)
    else:
        # Few columns are among the best: the others need no sorting.
        worst = best[0].max(1) if best[0].shape[1] == num else np.inf
        row, new = np.nonzero(value < np.reshape(worst, (-1, 1)))
        count = np.bincount(row, minlength=len(value))
        place = np.arange(len(row)) - (np.cumsum(count) - count)[row]
        more = np.full((len(value), int(count.max())), np.inf, value.dtype)
        number = np.zeros(more.shape, np.int64)
        more[row, place], number[row, place] = value[row, new], first + new
        value = np.concatenate([best[0], more], 1)
        column = np.concatenate([best[1], number], 1)
    if value.shape[1] <= num:
        return value, np.array(column)
    lowest = np.argpartition(value, num - 1, 1)[:, :num]
    take = functools.partial(np.take_along_axis, indices=lowest, axis=1)
    return take(value), take(column)


def _least(
    worst: np.ndarray,
    norm: np.ndarray,
    frame: Frame,
    width: int,
    metric: Metric,
    mode: str = "float32",
) -> np.ndarray:
    """float64[n], lower bounds of squared distances whose values are >= worst."""
    error, norm = distances.relative_error(width, mode), norm.astype(np.float64)
    upper = worst.astype(np.float64) + distances.point_term(norm, width, mode)
    scale = distances.error_scale(norm, mode)
    bound = distances.lower_bound(upper, scale, error) / float(frame.scale) ** 2
    # Rounding to unit length moves both ends of a distance, each by half of this.
    moved = distances.relative_error(width, mode) if metric == "cosine" else 0.0
    return np.maximum(np.sqrt(np.maximum(bound, 0)) - moved, 0) ** 2


@functools.partial(jax.jit, static_argnames=("metric", "mesh"), donate_argnums=0)
def _compare(
    best: tuple[jax.Array, jax.Array],
    x: jax.Array,
    others: jax.Array,
    column: jax.Array,
    frame: Frame,
    *,
    metric: Metric,
    mesh: Mesh,
) -> tuple[jax.Array, jax.Array]:
    """The lowest values float32[n, m] and their columns int32[n, m], split by rows.

    Args:
      best: so far.
      x: float[n, F], split.
      others: float[C, F], on every device.
      column: int32[C], their numbers; -1: padding.
      frame: of the products.
    """

    def local(
        best: tuple[jax.Array, jax.Array],
        x: jax.Array,
        others: jax.Array,
        column: jax.Array,
        frame: Frame,
    ) -> tuple[jax.Array, jax.Array]:
        x = distances.to_frame(_placed(metric)(x), frame, jnp.float32)
        others = distances.to_frame(_placed(metric)(others), frame, jnp.float32)
        error = jnp.float32(distances.relative_error(x.shape[1], "float32"))
        norm = (1 + error) * distances.squared_norm(others)
        norm = norm + error * jnp.float32(distances.underflow("float32"))
        value = norm[None] + distances.product(-2 * x, others.T)
        value = jnp.where(column[None] < 0, jnp.float32(jnp.inf), value)
        value = jnp.concatenate([best[0], value], 1)
        column = jnp.broadcast_to(column[None], (len(x), len(column)))
        number = jnp.concatenate([best[1], column], 1)
        _, lowest = jax.lax.top_k(-value, best[0].shape[1])
        take = functools.partial(jnp.take_along_axis, indices=lowest, axis=1)
        return take(value), take(number)

    specs = ((_ROWS, _ROWS), _ROWS, _ALL, _ALL, _ALL)
    mapped = jax.shard_map(
        local, mesh=mesh, in_specs=specs, out_specs=(_ROWS, _ROWS), check_vma=False
    )
    return mapped(best, x, others, column, frame)


@functools.partial(jax.jit, static_argnames="metric")
def _norm(x: jax.Array, frame: Frame, *, metric: Metric) -> jax.Array:
    """float32[n], squared lengths in the frame."""
    x = distances.to_frame(_placed(metric)(x), frame, jnp.float32)
    return distances.squared_norm(x)
