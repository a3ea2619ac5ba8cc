"""How much JAN's two estimators vary on small batches of embeddings.

Makes: printed mean and standard deviation of each estimate of the joint discrepancy,
       within the source and between both domains.
Data:  --source and --target, .npz files with features and label: PACS embeddings.
Time:  2 s on 2 CPU cores.

    python -m experiments.jan_spread --source=photo.npz --target=cartoon.npz

The true labels stand for the predicted probabilities, and the constant of the estimate
is subtracted.
"""

import sys

import jax
import numpy as np
from absl.flags import FlagValues

from dact_jax import errors
from dact_jax.data.readers import embeddings
from dact_jax.methods import jan
from experiments import commands


def load(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32[N, F] as a run scales them, and one-hot labels float32[N, K]."""
    data = embeddings.load(path, name=path)
    vectors = data.image.reshape(len(data.label), -1)
    return vectors, np.eye(len(data.class_names), dtype=np.float32)[data.label]


@commands.command(
    __doc__,
    commands.text("source", "photo.npz", "Embeddings of the source."),
    commands.text("target", "cartoon.npz", "Embeddings of the target."),
    commands.integer("batch", 32, "Vectors of each domain in a batch.", least=2),
    commands.integer("draws", 300, "Batches."),
)
def main(flags: FlagValues) -> None:
    """Prints a line for each pair of domains and each estimator."""
    rng = np.random.default_rng(0)
    source, target = load(flags.source), load(flags.target)
    for path, (vectors, _) in ((flags.source, source), (flags.target, target)):
        if flags.batch > len(vectors):
            raise errors.InputError(
                f"--batch={flags.batch} is more than the {len(vectors)} vectors of "
                f"{path}."
            )
    estimate = jax.jit(jan.joint_mmd, static_argnums=2)
    constant = 2 / (flags.batch - 1)
    pairs = {"source, source": (source, source), "source, target": (source, target)}
    for name, pair in pairs.items():
        for kind in ("full", "linear"):
            values = []
            for _ in range(flags.draws):
                rows = [rng.choice(len(x), flags.batch, replace=False) for x, _ in pair]
                batches = [(x[i], y[i]) for (x, y), i in zip(pair, rows, strict=True)]
                values.append(float(estimate(*batches, kind)) - constant)
            print(f"{name}, {kind}: {np.mean(values):.3f} +- {np.std(values):.3f}")


if __name__ == "__main__":
    main(sys.argv)
