"""CLUE's published SVHN LeNet on MNIST: 64.25 % of the 10 000 test images.

Makes: the printed number of test images that the network classifies correctly.
Data:  --weights, the file svhn_LeNet_source.pth that comes with the code of CLUE
       (github.com/virajprabhu/CLUE, MIT licence); --mnist, an .npz with the images
       x_test uint8[N, 28, 28] and their labels y_test int[N].
Time:  5 s on 2 CPU cores.

    python -m experiments.clue_lenet --weights=svhn_LeNet_source.pth --mnist=mnist.npz
"""

import pathlib
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl.flags import FlagValues

from dact_jax.models import heads, lenet, model, pretrained
from dact_jax.types import TARGET, Features, Model, Variables
from experiments import arrays, commands

WEIGHTS = commands.text("weights", None, "PyTorch or .npz file of CLUE's LeNet.")
MNIST = commands.text("mnist", None, "The file mnist.npz.")

# (network, variables, features of a batch) -> one value or vector per image.
Output = Callable[[Model, Variables, Features], jax.Array]


def sweep(
    weights: pathlib.Path, images: np.ndarray, output: Output, *, batch: int
) -> np.ndarray:
    """The output of CLUE's network for each image.

    Args:
      weights: file for `pretrained.load_weights`.
      images: uint8[N, 28, 28].
      output: what is computed from the features; jitted.
      batch: images in one forward pass.
    """
    network = model.make_model(lenet.LeNet(), {"classifier": heads.Linear(10)}, 1)
    variables = pretrained.apply_weights(
        network.init(jax.random.key(0), (28, 28, 1)),
        pretrained.load_weights(weights),
        "lenet",
        classifier=True,
    )

    @jax.jit
    def forward(images: jax.Array) -> jax.Array:
        pixels = images[None, ..., None].astype(jnp.float32) / 255
        images = (pixels - 0.5) / 0.5
        features, _ = network.encode(variables, images, (TARGET,), train=False)
        return output(network, variables, features)[0]

    starts = range(0, len(images), batch)
    return np.concatenate([forward(images[start : start + batch]) for start in starts])


def predict(network: Model, variables: Variables, features: Features) -> jax.Array:
    """The most likely class of each image, int32[1, B]."""
    return network.head(variables, "classifier", features).argmax(-1)


@commands.command(__doc__, WEIGHTS, MNIST)
def main(flags: FlagValues) -> None:
    """Prints the accuracy."""
    images, labels = arrays.read(flags.mnist, ("x_test", "y_test")).values()
    predicted = sweep(flags.weights, images, predict, batch=1000)
    correct = int(np.sum(predicted == labels))
    percent = 100 * correct / len(labels)
    print(f"{correct} of {len(labels)} correct: {percent:.2f} %")


if __name__ == "__main__":
    main(sys.argv)
