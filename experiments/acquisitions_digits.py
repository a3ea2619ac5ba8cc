"""Digits as embeddings of a LeNet that is trained on the source alone.

Makes: in --output, for each pair of domains, <SOURCE>_<TARGET>_source.npz and
       <SOURCE>_<TARGET>_target.npz with features float32[N, 500], label and path.
Data:  in --data_dir mnist/mnist.npz, usps/usps.npz and mnist_m/mnist_m_10k.npz, each
       with uint8 images x_train and x_test, and labels y_train and y_test.
Time:  10 min on 2 CPU cores.

    python -m experiments.acquisitions_digits --data_dir=data

Of a domain with more than 10 000 training images the first 10 000 are used.
"""

import pathlib
import sys

import numpy as np
from absl.flags import FlagValues

import dact_jax
from dact_jax.data.readers import digits
from experiments import acquisitions_table, arrays, commands

FILES = {
    "MNIST": "mnist/mnist.npz",
    "USPS": "usps/usps.npz",
    "MNIST-M": "mnist_m/mnist_m_10k.npz",
}
MOST = 10_000  # images of a domain
_COLOR = {
    "data.channels": 3,
    "data.mean": (0.5,) * 3,
    "data.std": (0.5,) * 3,
}


def embed(
    source: pathlib.Path, target: pathlib.Path, folder: pathlib.Path, steps: int
) -> dict[str, np.ndarray]:
    """The vectors of both domains' training images: "source" and "target"."""
    color = _COLOR if "MNIST-M" in (source.stem, target.stem) else {}
    config = dact_jax.config(
        "configs/svhn_mnist.py:preset=source_only",
        **{"data.source": str(source), "data.target": str(target), **color},
        **{"train.steps": steps, "train.chunk": min(steps, 100), "figures": False},
        **{"train.save_every": steps, "data.val_per_class": 0},
    )
    dact_jax.run(config, folder)
    network = dact_jax.load(folder)
    found = {}
    for side, path in (("source", source), ("target", target)):
        images = arrays.read(path, ("x_train",))["x_train"]
        found[side] = network.embed(images)
    return found


@commands.command(
    __doc__,
    commands.text("data_dir", "data", "Folder of the data."),
    commands.text("output", "runs/acquisitions_digits", "Folder to write."),
    commands.integer("steps", 1500, "Iterations of training on the source."),
)
def main(flags: FlagValues) -> None:
    """Writes the files that are missing."""
    output = pathlib.Path(flags.output)
    for source, target in acquisitions_table.DIGITS:
        paths = {
            side: output / f"{source}_{target}_{side}.npz"
            for side in ("source", "target")
        }
        if all(path.exists() for path in paths.values()):
            print(f"{source} → {target}: is there")
            continue
        images = [
            arrays.shorten(
                f"{flags.data_dir}/{FILES[name]}",
                output / f"{name}.npz",
                digits.ARRAYS,
                MOST,
            )
            for name in (source, target)
        ]
        made = embed(*images, output / f"{source}_{target}", flags.steps)
        for (side, path), file in zip(paths.items(), images, strict=True):
            label = arrays.read(file, ("y_train",))["y_train"]
            names = np.array([f"{row:05d}" for row in range(len(label))])
            arrays.write(path, {"features": made[side], "label": label, "path": names})
        print(f"{source} → {target}: {made['target'].shape}")


if __name__ == "__main__":
    main(sys.argv)
