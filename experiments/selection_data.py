"""Points for `bench_selection`: drawn from a seed, or the features of a file.

* mixture: 50 Gaussians of deviation 1, centers drawn from a normal distribution.
* noise: uniform in the unit cube.
* power: a Gaussian with the standard deviation 10 / k along dimension k.
* Any other name, such as pacs or mnist, stands for the features of a file.
"""

import pathlib

import numpy as np

from dact_jax import array_files, errors
from experiments import arrays

DRAWN = ("mixture", "noise", "power")
ROWS = 60_000  # drawn by default
BLOCK = 8192  # rows drawn at once, so that little memory besides the result is needed


def draw(name: str, rows: int, width: int, seed: int = 0) -> np.ndarray:
    """Draws points float32[rows, width]; the name is one of DRAWN."""
    rng = np.random.default_rng(seed)
    points = np.empty((rows, width), np.float32)
    centers = rng.standard_normal((50, width), np.float32)
    spread = 10 / np.arange(1, width + 1, dtype=np.float32)
    for start in range(0, rows, BLOCK):
        block = points[start : start + BLOCK]
        if name == "noise":
            rng.random(dtype=np.float32, out=block)
            continue
        rng.standard_normal(dtype=np.float32, out=block)
        if name == "mixture":
            block += centers[rng.integers(0, len(centers), len(block))]
        else:
            block *= spread
    return points


def read(path: pathlib.Path, rows: int | None = None) -> np.ndarray:
    """The first `rows` points of a file or folder, float32[N, F]; by default all.

    Args:
      path: a .npy file, an .npz file with the array `features`, or a folder of .npz
        files, which are concatenated in the order of their names.
    """
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files:
        raise errors.InputError(f"the folder {path} holds no .npz file.")
    parts = [_features(file) for file in files]
    points = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return np.array(points[:rows], np.float32)


def _features(file: pathlib.Path) -> np.ndarray:
    if file.suffix == ".npz":
        points = arrays.read(file, ("features",))["features"]
    else:
        points = array_files.mapped(file)
    if points.ndim != 2 or points.dtype.kind not in "fiu":
        raise errors.InputError(
            f"{file} must hold [N, F] real numbers, not "
            f"{points.dtype}{list(points.shape)}."
        )
    return points


def load(
    name: str, rows: int | None, width: int, features: pathlib.Path | None
) -> np.ndarray:
    """The points of a name, float32[N, F].

    Args:
      name: one of DRAWN; any other name stands for `features`.
      rows: number of points; by default ROWS, or all of a file.
      width: dimensions of points that are drawn.
      features: a path for `read`.

    Raises:
      InputError: the points are not drawn, and there are no features.
    """
    if name in DRAWN:
        return draw(name, rows or ROWS, width)
    if features is None:
        drawn = ", ".join(DRAWN)
        raise errors.InputError(
            f"--data={name} needs --features; only {drawn} are drawn."
        )
    return read(features, rows)


def shape(
    name: str, rows: int | None, width: int, features: pathlib.Path | None
) -> tuple[int, int]:
    """(N, F) of what `load` returns for the same arguments; nothing is drawn."""
    if name in DRAWN:
        return rows or ROWS, width
    num, width = load(name, rows, width, features).shape
    return num, width


def cover_radius(points: np.ndarray, picks: np.ndarray) -> float:
    """Largest distance of a point to its nearest pick, computed in float64.

    Args:
      points: float32[N, F].
      picks: int[n], rows of the points.
    """
    origin = points.mean(0, dtype=np.float64)
    centers = points[picks] - origin
    weights = np.einsum("nf,nf->n", centers, centers)
    largest = 0.0
    for start in range(0, len(points), 2048):
        block = points[start : start + 2048] - origin
        least = np.full(len(block), np.inf)
        for first in range(0, len(picks), 2048):
            part = slice(first, first + 2048)
            away = weights[part] - 2 * (block @ centers[part].T)
            np.minimum(least, away.min(1), out=least)
        least += np.einsum("nf,nf->n", block, block)
        largest = max(largest, float(least.max()))
    return float(np.sqrt(max(largest, 0.0)))
