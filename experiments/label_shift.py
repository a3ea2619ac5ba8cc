"""Why aligning photo with sketch embeddings hurts: their classes are not as frequent.

    python -m experiments.label_shift --data_dir=data/pacs_features --seeds=3

Adapts from all photos to two sets of sketches of one size: drawn with the class
proportions of the photos, and with the sketches' own. Prints source-only and DANN on
both, and how far the proportions of each pair of domains are apart (total variation).
"""

import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import app, flags, logging

from experiments import runs, unsupervised

_DATA = flags.DEFINE_string("data_dir", "data/pacs_features", "Folder of the .npz.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each method on each set.")
_FOLDER = flags.DEFINE_string("runs", "runs/label_shift", "Folder of the runs.")

METHODS = ("source_only", "dann")


def proportions(label: np.ndarray) -> np.ndarray:
    """float64[7], the share of each class of int[N] labels."""
    return np.bincount(label, minlength=7) / len(label)


def draw(sketches: dict[str, np.ndarray], share: np.ndarray) -> np.ndarray:
    """As many rows as there can be with these shares of the classes."""
    label = sketches["label"]
    size = int((np.bincount(label, minlength=7) / share).min())
    shuffled = np.random.default_rng(0).permutation(len(label))
    rows = [shuffled[label[shuffled] == k][: int(size * share[k])] for k in range(7)]
    return np.sort(np.concatenate(rows))


def save(path: pathlib.Path, data: dict[str, np.ndarray], rows: np.ndarray) -> None:
    """The chosen rows of embeddings, in the same form."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chosen = {name: data[name][rows] for name in ("features", "label", "path")}
    np.savez(path, classes=data["classes"], **chosen)


def main(argv: Sequence[str]) -> None:
    """Makes both sets, runs what is missing and prints the table."""
    del argv
    logging.set_verbosity(logging.WARNING)
    data = pathlib.Path(_DATA.value)
    domains = {name: dict(np.load(data / f"{name}.npz")) for name in unsupervised.PACS}
    share = {name: proportions(found["label"]) for name, found in domains.items()}
    for one, other in itertools.combinations(share, 2):
        apart = np.abs(share[one] - share[other]).sum() / 2
        print(f"{one}, {other}: total variation of the classes {apart:.3f}")
    sketches, root = domains["sketch"], pathlib.Path(_FOLDER.value)
    rows = draw(sketches, share["photo"])
    anyhow = np.random.default_rng(1).permutation(len(sketches["label"]))
    sets = {"as photos": rows, "as sketches": np.sort(anyhow[: len(rows)])}
    found = []
    for name, chosen in sets.items():
        path = root / f"{name.replace(' ', '_')}.npz"
        if not path.exists():
            save(path, sketches, chosen)
        fields = {
            "source": str(data / "photo.npz"),
            "target": str(path),
            **unsupervised.ON_VECTORS,
        }
        found += [
            unsupervised.run("configs/embeddings.py", method, name, seed, root, fields)
            for seed in range(_SEEDS.value)
            for method in METHODS
        ]
    print(f"{len(rows)} sketches; test accuracy in % by their classes' proportions:")
    print(runs.by_task(found, METHODS, tuple(sets), lambda row: row["test_accuracy"]))


if __name__ == "__main__":
    app.run(main)
