"""How noisy JAN's two estimators are on small batches of embeddings.

    python -m experiments.jan_spread --source=photo.npz --target=cartoon.npz

Draws batches of both and prints mean and standard deviation of each estimate of the
joint discrepancy (without the constant), with true labels for probabilities.
"""

from collections.abc import Sequence

import jax
import numpy as np
from absl import app, flags

from dact_jax.data.readers import embeddings
from dact_jax.methods import jan

_SOURCE = flags.DEFINE_string("source", "photo.npz", "Embeddings of the source.")
_TARGET = flags.DEFINE_string("target", "cartoon.npz", "Embeddings of the target.")
_BATCH = flags.DEFINE_integer("batch", 32, "Vectors of each domain.")
_DRAWS = flags.DEFINE_integer("draws", 300, "Batches.")


def load(path: str) -> tuple[np.ndarray, np.ndarray]:
    """float32[N, F] vectors as a run sees them, and float32[N, K] labels."""
    found = embeddings.load(path, name=path)
    vectors = found.image.reshape(len(found.label), -1)
    return vectors, np.eye(len(found.class_names), dtype=np.float32)[found.label]


def main(argv: Sequence[str]) -> None:
    """Prints a line a pair of domains and estimator."""
    del argv
    rng = np.random.default_rng(0)
    source, target = load(_SOURCE.value), load(_TARGET.value)
    estimate = jax.jit(jan.joint_mmd, static_argnums=2)
    pairs = {"source, source": (source, source), "source, target": (source, target)}
    for name, pair in pairs.items():
        for kind in ("full", "linear"):
            values = []
            for _ in range(_DRAWS.value):
                rows = [
                    rng.choice(len(x), _BATCH.value, replace=False) for x, _ in pair
                ]
                batches = [(x[i], y[i]) for (x, y), i in zip(pair, rows, strict=True)]
                constant = 2 / (_BATCH.value - 1)
                values.append(float(estimate(*batches, kind)) - constant)
            print(f"{name}, {kind}: {np.mean(values):.3f} +- {np.std(values):.3f}")


if __name__ == "__main__":
    app.run(main)
