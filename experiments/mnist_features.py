"""The features of MNIST's training images by CLUE's published SVHN LeNet.

Makes: --output, a .npy file with the rectified fully connected layer, float32[N, 500]:
       the points from which core-set selection picks in the experiments of CLUE.
Data:  --weights, the file that `experiments.clue_lenet` describes; --mnist, an .npz
       with the images x_train uint8[N, 28, 28].
Time:  9 s for the 60 000 images on 2 CPU cores.

    python -m experiments.mnist_features --weights=svhn_LeNet_source.pth \\
        --mnist=mnist.npz --output=mnist_features.npy
"""

import pathlib
import sys

import jax
import numpy as np
from absl.flags import FlagValues

from dact_jax.data.selection import picks
from dact_jax.types import Features, Model, Variables
from experiments import arrays, clue_lenet, commands


def embed(network: Model, variables: Variables, features: Features) -> jax.Array:
    """The embeddings, float32[1, B, 500]."""
    del network, variables
    return features.embedding


@commands.command(
    __doc__,
    clue_lenet.WEIGHTS,
    clue_lenet.MNIST,
    commands.text("output", None, "The .npy file to write."),
)
def main(flags: FlagValues) -> None:
    """Writes the file and prints its shape."""
    output = pathlib.Path(flags.output)
    picks.check_output(output, [], overwrite=True)
    images = arrays.read(flags.mnist, ("x_train",))["x_train"]
    features = clue_lenet.sweep(flags.weights, images, embed, batch=500)
    np.save(output, features)
    zeros = 100 * np.mean(features == 0)
    print(f"{features.dtype}{list(features.shape)}, {zeros:.1f} % of them 0")


if __name__ == "__main__":
    main(sys.argv)
