"""Greedy k-center in dact_jax, NumPy, JAX, PyTorch and scikit-activeml.

The contestants of `bench_selection`. Each takes points float32[N, F] on the host and a
budget, starts with row 0, and returns the picks int[budget] on the host. Packages are
imported by the call, or before it by `prepare`.
"""

import functools
import importlib
from collections.abc import Callable

import numpy as np

Contestant = Callable[[np.ndarray, int], np.ndarray]


def ours(points: np.ndarray, budget: int) -> np.ndarray:
    """The implementation of dact_jax."""
    import dact_jax

    return dact_jax.k_center(points, budget)


def numpy_loop(points: np.ndarray, budget: int) -> np.ndarray:
    """NumPy: for each pick one BLAS product of all points with a vector, in place."""
    points = points - points.mean(0)
    length = np.einsum("nf,nf->n", points, points)
    least = np.full(len(points), np.inf, np.float32)
    away = np.empty_like(least)
    picks = np.zeros(budget, np.int64)
    for number in range(1, budget):
        last = picks[number - 1]
        np.matmul(points, points[last], out=away)
        away *= -2
        away += length
        away += length[last]
        least[last] = -np.inf  # so that it is never picked again
        np.minimum(least, away, out=least)
        picks[number] = least.argmax()
    return picks


def jax_loop(points: np.ndarray, budget: int) -> np.ndarray:
    """JAX: as `numpy_loop`, in a jitted scan."""
    return np.asarray(_jitted()(points, budget))


@functools.cache
def _jitted() -> Callable:
    import jax
    import jax.numpy as jnp

    @functools.partial(jax.jit, static_argnums=1)
    def scan(points: jax.Array, budget: int) -> jax.Array:
        points = points - points.mean(0)[None]
        length = jnp.sum(points * points, -1)

        def pick(state: tuple, _: None) -> tuple:
            least, last = state
            product = jnp.matmul(
                points, points[last], precision=jax.lax.Precision.HIGHEST
            )
            away = length - 2 * product + length[last]
            least = jnp.minimum(least.at[last].set(-jnp.inf), away)
            return (least, jnp.argmax(least).astype(jnp.int32)), last

        start = (jnp.full(len(points), jnp.inf, jnp.float32), jnp.int32(0))
        return jax.lax.scan(pick, start, None, length=budget)[1]

    return scan


def torch_loop(points: np.ndarray, budget: int) -> np.ndarray:
    """PyTorch: as `numpy_loop`, on a GPU if there is one."""
    import torch

    with torch.inference_mode():
        rows = torch.from_numpy(points)
        rows = rows.cuda() if torch.cuda.is_available() else rows
        rows = rows - rows.mean(0)
        length = torch.linalg.vector_norm(rows, dim=1).square_()
        least = torch.full_like(length, torch.inf)
        away = torch.empty_like(length)
        picks = torch.zeros(budget, dtype=torch.int64, device=rows.device)
        for number in range(1, budget):
            last = picks[number - 1]
            torch.addmv(length, rows, rows[last], alpha=-2, out=away)
            away += length[last]
            least[last] = -torch.inf
            torch.minimum(least, away, out=least)
            picks[number] = least.argmax()
        return picks.cpu().numpy()


def skactiveml(points: np.ndarray, budget: int) -> np.ndarray:
    """scikit-activeml: its query strategy CoreSet, with row 0 labelled."""
    from skactiveml.pool import CoreSet

    label = np.full(len(points), np.nan)
    label[0] = 0
    if budget == 1:
        return np.zeros(1, np.int64)
    picks = CoreSet(random_state=0).query(points, label, batch_size=budget - 1)
    return np.append(0, picks)


CONTESTANTS: dict[str, Contestant] = {
    "ours": ours,
    "numpy": numpy_loop,
    "jax": jax_loop,
    "torch": torch_loop,
    "skactiveml": skactiveml,
}
MODULES = {  # imported before anything is timed
    "ours": ("dact_jax", "jax"),
    "numpy": (),
    "jax": ("jax",),
    "torch": ("torch",),
    "skactiveml": ("skactiveml.pool",),
}


def prepare(name: str) -> None:
    """Imports the packages of a contestant, and starts the backend of JAX."""
    for name_of_module in MODULES[name]:
        module = importlib.import_module(name_of_module)
        if name_of_module == "jax":
            module.devices()
