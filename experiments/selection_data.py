"""Points for `bench_selection`: drawn from a seed, or somebody's features.

* mixture: 50 Gaussians of spread 1, their centres drawn from a normal distribution.
* noise: uniform in the cube.
* power: a Gaussian with the standard deviation 10 / k along dimension k.
* Any other name (pacs, mnist) stands for features of a file.
"""

import pathlib

import numpy as np

DRAWN = ("mixture", "noise", "power")
ROWS = 60_000  # drawn by default
BLOCK = 8192  # rows drawn at once, so that hardly more than the result is ever held


def draw(name: str, rows: int, width: int, seed: int = 0) -> np.ndarray:
    """float32[rows, width].

    Args:
      name: one of DRAWN.
      rows: N.
      width: F.
      seed: of the numbers.
    """
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
    """float32[N, F], the first `rows` of a file, or of all .npz of a folder in turn.

    Args:
      path: a .npy; an .npz with the array `features`; or a folder of these.
      rows: all by default.
    """
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    parts = [_features(file) for file in files]
    points = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return np.array(points[:rows], np.float32)


def _features(file: pathlib.Path) -> np.ndarray:
    found = np.load(file, mmap_mode="r")
    if isinstance(found, np.ndarray):
        return found
    with found:
        return found["features"]


def load(
    name: str, rows: int | None, width: int, features: pathlib.Path | None
) -> np.ndarray:
    """The points of this name, float32[N, F].

    Args:
      name: one of DRAWN, or any other name for `features`.
      rows: N; of a file, its first so many (by default all).
      width: F; a file has its own.
      features: the file or folder.
    """
    if name in DRAWN:
        return draw(name, rows or ROWS, width)
    if features is None:
        drawn = ", ".join(DRAWN)
        raise SystemExit(f"--data={name} needs --features; only {drawn} are drawn.")
    return read(features, rows)


def shape(
    name: str, rows: int | None, width: int, features: pathlib.Path | None
) -> tuple[int, int]:
    """(N, F) of what `load` returns; nothing is drawn.

    Args:
      name: as of `load`, as are the others.
      rows: N.
      width: F.
      features: the file or folder.
    """
    if name in DRAWN:
        return rows or ROWS, width
    num, width = load(name, rows, width, features).shape
    return num, width


def cover_radius(points: np.ndarray, picks: np.ndarray) -> float:
    """Largest distance of any point to its nearest pick, by products in float64.

    Args:
      points: [N, F].
      picks: int[n], rows.
    """
    origin = points.mean(0, dtype=np.float64)
    centers = points[picks] - origin
    weights = np.einsum("nf,nf->n", centers, centers)
    largest = 0.0
    for start in range(0, len(points), 2048):
        block = points[start : start + 2048] - origin
        least = np.full(len(block), np.inf)
        for first in range(0, len(picks), 2048):
            some = slice(first, first + 2048)
            away = weights[some] - 2 * (block @ centers[some].T)
            np.minimum(least, away.min(1), out=least)
        least += np.einsum("nf,nf->n", block, block)
        largest = max(largest, float(least.max()))
    return float(np.sqrt(max(largest, 0.0)))
