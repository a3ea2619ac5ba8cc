"""CLUE's published SVHN LeNet on MNIST: 64.25 % of the 10 000 test images.

    python experiments/clue_lenet.py --weights svhn_LeNet_source.pth --mnist mnist.npz

The weights come with the code of CLUE (github.com/virajprabhu/CLUE, MIT licence);
mnist.npz holds x_test uint8[10000, 28, 28] and y_test int[10000].
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from dact_jax.models import heads, lenet, model, pretrained
from dact_jax.types import TARGET

_WEIGHTS = flags.DEFINE_string("weights", None, "PyTorch file.", required=True)
_MNIST = flags.DEFINE_string("mnist", None, "mnist.npz.", required=True)


def main(argv: list[str]) -> None:
    """Prints the accuracy."""
    del argv
    network = model.make_model(lenet.LeNet(), {"classifier": heads.Linear(10)}, 1)
    variables = pretrained.apply_weights(
        network.init(jax.random.key(0), (28, 28, 1)),
        pretrained.load_weights(_WEIGHTS.value),
        "lenet",
        classifier=True,
    )

    @jax.jit
    def predict(images):  # uint8[B, 28, 28] -> int32[B]
        images = (images[None, ..., None] / jnp.float32(255) - 0.5) / 0.5
        features, _ = network.encode(variables, images, (TARGET,), train=False)
        return network.head(variables, "classifier", features)[0].argmax(-1)

    with np.load(_MNIST.value) as mnist:
        images, labels = mnist["x_test"], mnist["y_test"]
    predicted = np.concatenate([predict(part) for part in np.split(images, 10)])
    right = int(np.sum(predicted == labels))
    print(f"{right} of {len(labels)} right: {100 * right / len(labels):.2f} %")


if __name__ == "__main__":
    app.run(main)
