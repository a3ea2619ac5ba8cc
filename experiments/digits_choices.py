"""S_AcT, S_RT, R_AcT and D_AcT on digits, with 2000 source images kept.

Makes: experiments/results/digits_choices.json, a row a run, and digits_choices.md,
       their tables.
Data:  mnist_m/mnist_m_10k.npz and mnist/mnist.npz in --data_dir, each with uint8 images
       x_train and x_test, and labels y_train and y_test; none for the other task.
Time:  86 min of training and selection on one CPU core.

    python -m experiments.digits_choices --data_dir=data --seeds=3

The tasks are printed -> handwritten digits and MNIST-M -> MNIST. The target pool of the
second is the first 10 000 training images of MNIST; all its test images test. A run
whose row is in the .json already is not repeated. The page ends with
digits_choices_notes.md.
"""

import pathlib
import sys

from absl.flags import FlagValues

from dact_jax.data.readers import digits
from experiments import arrays, choices, choices_page, commands, published, runs

COLORED = "MNIST-M → MNIST"
POOL = 10_000  # training images of MNIST that are the target pool
SHARED: choices.Fields = {
    "train.steps": 200,
    "train.save_every": 200,
    "loss_predictor.steps": 200,
    "half": 500,  # images that each of four selections chooses
    "tenth": 500,
    "figures": False,
}
COLOR: choices.Fields = {
    "data.channels": 3,
    "data.mean": (0.5,) * 3,
    "data.std": (0.5,) * 3,
}


def smaller(data_dir: str, folder: pathlib.Path) -> pathlib.Path:
    """The file of MNIST with a pool of POOL images; written if it is missing."""
    source, output = f"{data_dir}/mnist/mnist.npz", folder / f"mnist_{POOL}.npz"
    return arrays.shorten(source, output, digits.ARRAYS, POOL)


def tasks(
    data_dir: str, folder: str, side: int = 28
) -> dict[str, tuple[str, choices.Fields]]:
    """Both tasks: name -> config file and fields, as `choices.Table` has them.

    Args:
      folder: of the smaller MNIST.
      side: pixels of a side of the images.
    """
    shared = {**SHARED, **runs.resize(side)}
    mnist = {
        "source": f"{data_dir}/mnist_m/mnist_m_10k.npz",
        "target": f"{folder}/mnist_{POOL}.npz",
        **COLOR,
        **shared,
    }
    return {
        "printed → handwritten": ("configs/digits.py", shared),
        COLORED: ("configs/svhn_mnist.py", mnist),
    }


@commands.command(
    __doc__,
    commands.text("data_dir", "data", "Folder of the data."),
    commands.text("runs", "runs/digits_choices", "Folder for the smaller MNIST."),
    runs.SIDE,
    *runs.flags("digits_choices", seeds=3),
    *choices.FLAGS,
)
def main(flags: FlagValues) -> None:
    """Runs what is missing and writes the rows and the page."""
    found = tasks(flags.data_dir, flags.runs, flags.side)
    table = choices.make_table(
        flags,
        found,
        choices.DIGITS,
        title="Digits: what to label and what to keep",
        command="python -m experiments.digits_choices --data_dir=data",
    )
    absent = choices.missing(table, flags)
    if absent:
        if any(task == COLORED for _, task, _ in absent):
            published.check_files(found[COLORED][1]["source"])
            smaller(flags.data_dir, pathlib.Path(flags.runs))
        choices.fill(table, flags, absent)
    if absent or flags.page:
        rows = published.rows(choices.rows_path(table), flags)
        choices_page.write(table, rows)


if __name__ == "__main__":
    main(sys.argv)
