"""Every training method without target labels, on six pairs of PACS embeddings.

Makes: experiments/results/embeddings.json, a row a run, and embeddings.md, their table.
Data:  photo.npz, cartoon.npz and sketch.npz in --data_dir, each with features, label
       and path: the 1280 numbers that EfficientNet-Lite0 gives for each image.
Time:  42 min of training on 2 CPU cores.

    python -m experiments.embeddings_table --data_dir=data/pacs_features --seeds=5

A run that is in the folder --runs already is not repeated. The page ends with
embeddings_notes.md.
"""

import itertools
import sys

from absl.flags import FlagValues

from experiments import commands, runs, unsupervised

CONFIG = "configs/embeddings.py"


def tasks(data_dir: str) -> dict[str, unsupervised.Fields]:
    """The six tasks: name -> fields of the task and of the table."""
    return {
        f"{source} → {target}": {
            "source": f"{data_dir}/{source}.npz",
            "target": f"{data_dir}/{target}.npz",
            **unsupervised.ON_VECTORS,
        }
        for source, target in itertools.permutations(unsupervised.PACS, 2)
    }


@commands.command(
    __doc__,
    commands.text("data_dir", "data/pacs_features", "Folder of the three .npz files."),
    commands.text("runs", "runs/embeddings_table", "Folder of the runs."),
    *runs.flags("embeddings", seeds=5),
    runs.METHODS,
    runs.TASKS,
    runs.PAGE,
)
def main(flags: FlagValues) -> None:
    """Finishes the runs and writes their rows and the page."""
    unsupervised.make(
        flags,
        tasks(flags.data_dir),
        title="PACS embeddings without target labels",
        command="python -m experiments.embeddings_table --data_dir=data/pacs_features",
        config=CONFIG,
    )


if __name__ == "__main__":
    main(sys.argv)
