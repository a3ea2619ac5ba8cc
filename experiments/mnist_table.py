"""Every method on MNIST -> USPS and MNIST -> MNIST-M, as a table.

    python -m experiments.mnist_table --data_dir=data --seeds=3

Reads mnist/mnist.npz, usps/usps.npz and mnist_m/mnist_m_10k.npz in the data folder
(uint8 images x_train, x_test; labels y_train, y_test). A run that is there already is
not repeated. Writes experiments/results/mnist.json (a row a run) and mnist.md, which
ends with mnist_notes.md.
"""

import pathlib
from collections.abc import Sequence

from absl import app, flags, logging

from experiments import unsupervised

_DATA = flags.DEFINE_string("data_dir", "data", "Folder of the data.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each method on each pair.")
_METHODS = flags.DEFINE_list("methods", list(unsupervised.MAIN), "Rows, in order.")
_PAGE = flags.DEFINE_bool("page", False, "Only write the page of the rows there are.")
_RUNS = flags.DEFINE_string("runs", "runs/mnist_table", "Folder of the runs.")

COLOUR = {"data.channels": 3, "data.mean": (0.5,) * 3, "data.std": (0.5,) * 3}
TASKS = {  # task -> (file of its target, what its pixels need)
    "MNIST → USPS": ("usps/usps.npz", {}),
    "MNIST → MNIST-M": ("mnist_m/mnist_m_10k.npz", COLOUR),
}
RESULTS = pathlib.Path(__file__).parent / "results"
SHARED = {  # one network, batch size and pre-training for all
    "model.batch_norm": True,
    "train.batch_source": 32,
    "train.batch_target": 32,
    "train.batch_unlabeled": 32,
    "pretrain.batch": 32,
    "pretrain.steps": 400,
    "pretrain.optimizer": "adam",
    "pretrain.learning_rate": 1e-3,
    "pretrain.schedule": "constant",
    "pretrain.weight_decay": 5e-4,
    "train.steps": 600,
    "train.first_steps": 600,
    "train.save_every": 600,
    "eval.every": 100,
}


def main(argv: Sequence[str]) -> None:
    """Runs what is missing and writes the table."""
    del argv
    logging.set_verbosity(logging.WARNING)
    table = unsupervised.Table(
        title="MNIST to USPS and to MNIST-M without target labels",
        command="python -m experiments.mnist_table --data_dir=data",
        results=RESULTS / "mnist",
        config="configs/svhn_mnist.py",
        tasks={
            task: {
                "source": f"{_DATA.value}/mnist/mnist.npz",
                "target": f"{_DATA.value}/{file}",
                **fields,
                **SHARED,
            }
            for task, (file, fields) in TASKS.items()
        },
        seeds=_SEEDS.value,
        methods=_METHODS.value,
        root=pathlib.Path(_RUNS.value),
    )
    if _PAGE.value:
        unsupervised.write_page(table)
    else:
        unsupervised.fill(table)


if __name__ == "__main__":
    app.run(main)
