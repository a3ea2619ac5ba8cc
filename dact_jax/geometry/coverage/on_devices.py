"""Coverage on accelerators, and on several devices or processes: points split by rows.

As `on_host`, but every gain is computed from all points, and what is decided are
differences in float64. Call it under `jax.enable_x64`.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from dact_jax import devices
from dact_jax.geometry import distances
from dact_jax.geometry.coverage import kernels, targets
from dact_jax.geometry.coverage.targets import Targets

_ROWS = 4096  # points of a block on each device
_MOST = 1024  # points whose gains are bounded at once
_FEW = 16  # points that are compared by differences at once
_SUM_ERROR = 2.0**-40  # of float64 sums, more than rounding can cause
_SPLIT, _ALL = PartitionSpec("data"), PartitionSpec()


class _Block(NamedTuple):
    """Points on the devices, split; padding has weight 0."""

    x: jax.Array  # float[n, F]
    weight: jax.Array  # float64[n]
    size: jax.Array  # float64[n]
    coverage: jax.Array  # float64[n]


def gains(
    state: Targets, at: np.ndarray, coverage: np.ndarray, mode: str
) -> np.ndarray:
    """float64[m], upper bounds of the gains of points; as `on_host.gains`."""
    total = np.zeros(len(at))
    room = min(_MOST, 1 << (len(at) - 1).bit_length())
    for first in range(0, len(at), room):
        part = at[first : first + room]
        padded = np.resize(part, room)
        new, size = _put(state, padded), state.size[padded]
        bound = np.zeros(room)
        for _, block in _blocks(state, coverage):
            bound += np.asarray(
                _bounds(
                    block,
                    new,
                    size,
                    state.kernel.origin,
                    np.float64(state.kernel.scale),
                    name=state.kernel.name,
                    mode=mode,
                    mesh=state.pool.mesh,
                )
            )
        total[first : first + len(part)] = bound[: len(part)]
    return np.asarray(devices.from_process_0(total))


def exact_gains(
    state: Targets, at: np.ndarray, coverage: np.ndarray, mode: str
) -> np.ndarray:
    """float64[m], the gains of points; as `on_host.exact_gains`."""
    del mode
    total = np.zeros(len(at))
    for first in range(0, len(at), _FEW):
        part = at[first : first + _FEW]
        new = _put(state, np.resize(part, _FEW))
        for _, block in _blocks(state, coverage):
            sums, _ = _compared(state, block, new)
            total[first : first + len(part)] += np.asarray(sums)[: len(part)]
    return np.asarray(devices.from_process_0(total))


def cover(
    state: Targets, new: np.ndarray, coverage: np.ndarray, mode: str
) -> np.ndarray:
    """float64[M], the coverage with new points; as `on_host.cover`."""
    del mode
    after = np.zeros(state.pool.rows)
    for first in range(0, len(new), _FEW):
        chosen = _put(state, np.resize(new[first : first + _FEW], _FEW))
        for rows, block in _blocks(state, coverage):
            _, best = _compared(state, block, chosen)
            np.maximum.at(after, rows, devices.whole(best))
    after = np.asarray(devices.from_process_0(after))
    return np.maximum(coverage, after[state.row])


def _put(state: Targets, at: np.ndarray) -> jax.Array:
    return devices.put(targets.read(state, at), state.pool.mesh, split=False)


def _blocks(
    state: Targets, coverage: np.ndarray
) -> Iterator[tuple[np.ndarray, _Block]]:
    """Yields (int64[n] rows of the pool, their block) until all rows came."""
    pool = state.pool
    of_rows = np.zeros((3, pool.rows))
    of_rows[:, state.row] = state.weight, state.size, coverage
    step = _ROWS * pool.mesh.size // pool.parts
    begin = np.arange(pool.parts)[:, None] * pool.part
    for first in range(0, pool.part, step):
        number = first + np.arange(min(step, _even(pool.part, pool.mesh.size)))
        rows = (begin + np.minimum(number, pool.part - 1)).reshape(-1)
        values = of_rows[:, rows]
        values[0] *= np.tile(number < pool.part, pool.parts)  # each row once
        split = (devices.put(value, pool.mesh) for value in values)
        yield rows, _Block(pool.read_split(rows), *split)


def _even(count: int, parts: int) -> int:
    """The least multiple of `parts` that is not below `count`."""
    return -(-count // parts) * parts


@functools.partial(jax.jit, static_argnames=("name", "mode", "mesh"))
def _bounds(
    block: _Block,
    new: jax.Array,
    size: jax.Array,
    origin: jax.Array,
    scale: jax.Array,
    *,
    name: str,
    mode: str,
    mesh: Mesh,
) -> jax.Array:
    """float64[m], upper bounds of the gains of new points [m, F] from a block."""

    def local(
        block: _Block, new: jax.Array, size: jax.Array, origin: jax.Array
    ) -> jax.Array:
        def term(size: jax.Array) -> jax.Array:
            t = jnp.zeros_like(size) if name == "cosine" else -size
            return (t + kernels.error(size, new.shape[1], mode)).astype(mode)

        y, z = (_placed(x, origin, name).astype(mode) for x in (block.x, new))
        if name != "cosine":
            z = z * (2 / scale**2).astype(mode)
        p = distances.product(y, z.T) + term(block.size)[:, None] + term(size)[None]
        k = _value(p, name).astype(jnp.float64)
        more = jnp.maximum(k - block.coverage[:, None], 0)
        gain = jnp.sum(block.weight[:, None] * more, 0)
        return jax.lax.psum(gain, "data") * (1 + _SUM_ERROR)

    specs = (_SPLIT, _ALL, _ALL, _ALL)
    return jax.shard_map(
        local, mesh=mesh, in_specs=specs, out_specs=_ALL, check_vma=False
    )(block, new, size, origin)


def _compared(
    state: Targets, block: _Block, new: jax.Array
) -> tuple[jax.Array, jax.Array]:
    kernel, mesh = state.kernel, state.pool.mesh
    return _differences(
        block,
        new,
        kernel.origin,
        np.float64(kernel.scale),
        name=kernel.name,
        mesh=mesh,
    )


@functools.partial(jax.jit, static_argnames=("name", "mesh"))
def _differences(
    block: _Block,
    new: jax.Array,
    origin: jax.Array,
    scale: jax.Array,
    *,
    name: str,
    mesh: Mesh,
) -> tuple[jax.Array, jax.Array]:
    """(float64[m] gains of new points, float64[n] largest k to one of them, split)."""

    def local(
        block: _Block, new: jax.Array, origin: jax.Array, scale: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        y = _placed(block.x.astype(jnp.float64), origin, name)

        def compare(best: jax.Array, point: jax.Array) -> tuple[jax.Array, jax.Array]:
            if name == "cosine":
                p = jnp.sum(y * point[None], 1)
            else:
                p = -jnp.sum(jnp.square(y - point[None]), 1) / scale**2
            k = _value(p, name)
            more = jnp.maximum(k - block.coverage, 0)
            return jnp.maximum(best, k), jnp.sum(block.weight * more)

        points = _placed(new.astype(jnp.float64), origin, name)
        best, gain = jax.lax.scan(compare, jnp.zeros(len(y)), points)
        return jax.lax.psum(gain, "data"), best

    specs = (_SPLIT, _ALL, _ALL, _ALL)
    return jax.shard_map(
        local, mesh=mesh, in_specs=specs, out_specs=(_ALL, _SPLIT), check_vma=False
    )(block, new, origin, scale)


def _placed(points: jax.Array, origin: jax.Array, name: str) -> jax.Array:
    """y of points [n, F], in their dtype or that of the origin."""
    if name != "cosine":
        return points - origin[None].astype(points.dtype)
    norm = jnp.sqrt(distances.squared_norm(points))[:, None]
    return points / jnp.where(norm > 0, norm, jnp.ones((), norm.dtype))


def _value(exponent: jax.Array, name: str) -> jax.Array:
    """k of exponents, as `kernels.value`."""
    if name == "gaussian":
        return jnp.exp(jnp.minimum(exponent, 0))
    if name == "cosine":
        return jnp.maximum(exponent, 0)
    return (exponent >= -1 - kernels.EDGE).astype(exponent.dtype)
