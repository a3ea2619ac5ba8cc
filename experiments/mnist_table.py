"""Training methods without target labels, on MNIST -> USPS and MNIST -> MNIST-M.

Makes: experiments/results/mnist.json, a row a run, and mnist.md, their table.
Data:  mnist/mnist.npz, usps/usps.npz and mnist_m/mnist_m_10k.npz in --data_dir, each
       with uint8 images x_train and x_test, and labels y_train and y_test.
Time:  1 hour on 2 CPU cores.

    python -m experiments.mnist_table --data_dir=data --seeds=3

A run that is in the folder --runs already is not repeated. Without --methods, variants
of a method are left out. The page ends with mnist_notes.md.
"""

import sys

from absl.flags import FlagValues

from experiments import commands, runs, unsupervised

COLOR = {"data.channels": 3, "data.mean": (0.5,) * 3, "data.std": (0.5,) * 3}
TASKS = {  # task -> (file of its target, fields of its pixels)
    "MNIST → USPS": ("usps/usps.npz", {}),
    "MNIST → MNIST-M": ("mnist_m/mnist_m_10k.npz", COLOR),
}
SHARED = {  # the same network, batches and pre-training for all methods
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


CONFIG = "configs/svhn_mnist.py"


def tasks(data_dir: str, side: int = 28) -> dict[str, unsupervised.Fields]:
    """Both tasks: name -> fields of the task and of the table."""
    return {
        task: {
            "source": f"{data_dir}/mnist/mnist.npz",
            "target": f"{data_dir}/{file}",
            **fields,
            **SHARED,
            **runs.resize(side),
        }
        for task, (file, fields) in TASKS.items()
    }


@commands.command(
    __doc__,
    commands.text("data_dir", "data", "Folder of the data."),
    commands.text("runs", "runs/mnist_table", "Folder of the runs."),
    runs.SIDE,
    *runs.flags("mnist", seeds=3),
    runs.METHODS._replace(default=";".join(unsupervised.MAIN)),
    runs.TASKS,
    runs.PAGE,
)
def main(flags: FlagValues) -> None:
    """Finishes the runs and writes their rows and the page."""
    unsupervised.make(
        flags,
        tasks(flags.data_dir, flags.side),
        title="MNIST to USPS and to MNIST-M without target labels",
        command="python -m experiments.mnist_table --data_dir=data",
        config=CONFIG,
    )


if __name__ == "__main__":
    main(sys.argv)
