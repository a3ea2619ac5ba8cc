"""S_AcT, S_RT, R_AcT and D_AcT on digits, with 2000 source images kept.

    python -m experiments.digits_choices --data_dir=data --seeds=3

Printed -> handwritten digits (nothing to read), and MNIST-M -> MNIST from
mnist_m/mnist_m_10k.npz and mnist/mnist.npz in the data folder (uint8 images x_train,
x_test; labels y_train, y_test). Of MNIST the first 10 000 training images are the pool;
all test images test. A run that is in the results already is not repeated. Writes
experiments/results/digits_choices.json (a row a run) and digits_choices.md, which ends
with digits_choices_notes.md.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import app, flags, logging

from experiments import choices, choices_page

_DATA = flags.DEFINE_string("data_dir", "data", "Folder of the data.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each method on each pair.")
_FIRST = flags.DEFINE_integer("first_seed", 0, "The first of them.")
_METHODS = flags.DEFINE_string("methods", "", "Rows, split by semicolons; empty: all.")
_PAGE = flags.DEFINE_bool("page", False, "Only write the page of the rows there are.")
_RUNS = flags.DEFINE_string("runs", "runs/digits_choices", "For the smaller MNIST.")
_RESULTS = flags.DEFINE_string(
    "results",
    str(pathlib.Path(__file__).parent / "results/digits_choices"),
    "Without suffix.",
)

POOL = 10_000
SHARED: choices.Fields = {
    "train.steps": 200,
    "train.save_every": 200,
    "loss_predictor.steps": 200,
    "half": 500,  # images chosen at once, four times
    "tenth": 500,
    "figures": False,
}
COLOUR: choices.Fields = {
    "data.channels": 3,
    "data.mean": (0.5,) * 3,
    "data.std": (0.5,) * 3,
}


def smaller(data: str, folder: pathlib.Path) -> pathlib.Path:
    """MNIST with a pool of POOL images, written once."""
    path = folder / f"mnist_{POOL}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with np.load(f"{data}/mnist/mnist.npz") as whole:
            train = {name: whole[name][:POOL] for name in ("x_train", "y_train")}
            test = {name: whole[name] for name in ("x_test", "y_test")}
        np.savez(path, **train, **test)
    return path


def main(argv: Sequence[str]) -> None:
    """Runs what is missing and writes the table."""
    del argv
    logging.set_verbosity(logging.WARNING)
    colour = {
        "source": f"{_DATA.value}/mnist_m/mnist_m_10k.npz",
        "target": str(smaller(_DATA.value, pathlib.Path(_RUNS.value))),
        **COLOUR,
        **SHARED,
    }
    table = choices.Table(
        title="Digits: what to label and what to keep",
        command="python -m experiments.digits_choices --data_dir=data",
        tasks={
            "printed → handwritten": ("configs/digits.py", SHARED),
            "MNIST-M → MNIST": ("configs/svhn_mnist.py", colour),
        },
        methods=_METHODS.value.split(";") if _METHODS.value else choices.DIGITS,
        seeds=range(_FIRST.value, _FIRST.value + _SEEDS.value),
        results=pathlib.Path(_RESULTS.value),
    )
    if not _PAGE.value:
        choices.fill(table)
    choices_page.write(table)


if __name__ == "__main__":
    app.run(main)
