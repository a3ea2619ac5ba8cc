"""Why aligning photo with sketch embeddings hurts: class frequencies differ.

Makes: printed tables of `source_only` and `dann`, adapted from photos to sketches that
       are drawn with the class frequencies of the photos, and with those of the
       sketches; and the total variation of the class frequencies of each pair.
Data:  photo.npz, cartoon.npz and sketch.npz in --data_dir, each with features, label,
       path and classes: PACS embeddings by EfficientNet-Lite0.
Time:  2 min on 2 CPU cores.

    python -m experiments.label_shift --data_dir=data/pacs_features --seeds=5

Both sets of sketches have the same size.
"""

import itertools
import pathlib
import sys

import numpy as np
from absl.flags import FlagValues

from experiments import arrays, commands, picked, runs, unsupervised

METHODS = ("source_only", "dann")
ARRAYS = ("features", "label", "path", "classes")


def draw(label: np.ndarray, share: np.ndarray) -> np.ndarray:
    """As many rows as possible such that the classes have the given shares.

    Args:
      label: int[N], classes of the rows.
      share: float[K], share of each class; they sum to 1, and none is 0.

    Returns:
      int[n], sorted rows.
    """
    count = np.bincount(label, minlength=len(share))
    size = int((count / share).min())
    shuffled = np.random.default_rng(0).permutation(len(label))
    rows = [
        shuffled[label[shuffled] == k][: int(size * share[k])]
        for k in range(len(share))
    ]
    return np.sort(np.concatenate(rows))


def save(path: pathlib.Path, data: dict[str, np.ndarray], rows: np.ndarray) -> None:
    """Writes some rows of embeddings, in the same form."""
    chosen = {name: data[name][rows] for name in ("features", "label", "path")}
    arrays.write(path, chosen | {"classes": data["classes"]})


@commands.command(
    __doc__,
    commands.text("data_dir", "data/pacs_features", "Folder of the three .npz files."),
    commands.integer("seeds", 3, "Runs of each method on each set."),
    commands.integer(
        "steps", 0, "Iterations of each stage, for a quick try; 0: as usual.", least=0
    ),
    commands.text("runs", "runs/label_shift", "Folder of the runs and of both sets."),
)
def main(flags: FlagValues) -> None:
    """Writes both sets of sketches, finishes the runs and prints the table."""
    folder, root = pathlib.Path(flags.data_dir), pathlib.Path(flags.runs)
    domains = {
        name: arrays.read(folder / f"{name}.npz", ARRAYS) for name in unsupervised.PACS
    }
    num_classes = len(domains["sketch"]["classes"])
    count = {
        name: np.bincount(data["label"], minlength=num_classes)
        for name, data in domains.items()
    }
    for name, other in itertools.combinations(count, 2):
        distance = picked.variation(count[name], count[other])
        print(f"{name}, {other}: total variation of the classes {distance:.3f}")
    sketches = domains["sketch"]
    rows = draw(sketches["label"], count["photo"] / len(domains["photo"]["label"]))
    shuffled = np.random.default_rng(1).permutation(len(sketches["label"]))
    sets = {"as photos": rows, "as sketches": np.sort(shuffled[: len(rows)])}
    table = []
    for name, chosen in sets.items():
        path = root / f"{name.replace(' ', '_')}.npz"
        if not path.exists():
            save(path, sketches, chosen)
        fields = {
            "source": str(folder / "photo.npz"),
            "target": str(path),
            **unsupervised.ON_VECTORS,
        }
        fields = runs.shorten(fields, flags.steps)
        table += [
            unsupervised.run("configs/embeddings.py", method, name, seed, root, fields)
            for seed in range(flags.seeds)
            for method in METHODS
        ]
    print(f"{len(rows)} sketches; test accuracy in %, by their class frequencies:")
    print(runs.by_task(table, METHODS, tuple(sets), lambda row: row["test_accuracy"]))


if __name__ == "__main__":
    main(sys.argv)
