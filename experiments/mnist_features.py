"""What CLUE's published SVHN LeNet sees in MNIST's 60 000 training images.

    python -m experiments.mnist_features --weights=svhn_LeNet_source.pth \
        --mnist=mnist.npz --output=mnist_features.npy

Writes float32[60000, 500], the rectified fully connected layer: the points among which
core-set selection chooses in the experiments of CLUE. `clue_lenet` says where the
weights come from; mnist.npz holds x_train uint8[60000, 28, 28].
"""

import argparse
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dact_jax.models import heads, lenet, model, pretrained
from dact_jax.types import TARGET

BATCH = 500


def features(weights: pathlib.Path, images: np.ndarray) -> np.ndarray:
    """float32[N, 500] of uint8[N, 28, 28]."""
    network = model.make_model(lenet.LeNet(), {"classifier": heads.Linear(10)}, 1)
    variables = pretrained.apply_weights(
        network.init(jax.random.key(0), (28, 28, 1)),
        pretrained.load_weights(weights),
        "lenet",
        classifier=True,
    )

    @jax.jit
    def encode(images: jax.Array) -> jax.Array:
        images = (images[None, ..., None] / jnp.float32(255) - 0.5) / 0.5
        found, _ = network.encode(variables, images, (TARGET,), train=False)
        return found.embedding[0]

    starts = range(0, len(images), BATCH)
    return np.concatenate([encode(images[start : start + BATCH]) for start in starts])


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the file and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in ("weights", "mnist", "output"):
        parser.add_argument(f"--{flag}", type=pathlib.Path, required=True)
    args = parser.parse_args(argv)
    with np.load(args.mnist) as mnist:
        found = features(args.weights, mnist["x_train"])
    np.save(args.output, found)
    zeros = np.mean(found == 0)
    print(f"{found.dtype}{list(found.shape)}, {100 * zeros:.1f} % of them 0")


if __name__ == "__main__":
    main()
