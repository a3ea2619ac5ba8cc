"""Every method on the six pairs of PACS embeddings, as a table.

    python -m experiments.embeddings_table --data_dir=data/pacs_features --seeds=5

Reads photo.npz, cartoon.npz and sketch.npz (features, label, path) in the data folder:
EfficientNet-Lite0's 1280 numbers of each image. A run that is there already is not
repeated. Writes experiments/results/embeddings.json (a row a run) and embeddings.md,
which ends with embeddings_notes.md.
"""

import itertools
import pathlib
from collections.abc import Sequence

from absl import app, flags, logging

from experiments import unsupervised

_DATA = flags.DEFINE_string("data_dir", "data/pacs_features", "Folder of the .npz.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "Runs of each method on each pair.")
_METHODS = flags.DEFINE_list("methods", list(unsupervised.METHODS), "Rows, in order.")
_PAGE = flags.DEFINE_bool("page", False, "Only write the page of the rows there are.")
_RUNS = flags.DEFINE_string("runs", "runs/embeddings_table", "Folder of the runs.")

RESULTS = pathlib.Path(__file__).parent / "results"


def main(argv: Sequence[str]) -> None:
    """Runs what is missing and writes the table."""
    del argv
    logging.set_verbosity(logging.WARNING)
    tasks = {
        f"{source} → {target}": {
            "source": f"{_DATA.value}/{source}.npz",
            "target": f"{_DATA.value}/{target}.npz",
            **unsupervised.ON_VECTORS,
        }
        for source, target in itertools.permutations(unsupervised.PACS, 2)
    }
    table = unsupervised.Table(
        title="PACS embeddings without target labels",
        command="python -m experiments.embeddings_table --data_dir=data/pacs_features",
        results=RESULTS / "embeddings",
        config="configs/embeddings.py",
        tasks=tasks,
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
