"""S_AcT with every acquisition, R_AcT and D_AcT on six pairs of PACS embeddings.

    python -m experiments.choices_table --data_dir=data/pacs_features --seeds=10

Reads photo.npz, cartoon.npz and sketch.npz (features, label, path) in the data folder:
EfficientNet-Lite0's 1280 numbers of each image. A run that is in the results already is
not repeated. Writes experiments/results/choices.json (a row a run) and choices.md,
which ends with choices_notes.md.
"""

import itertools
import pathlib
from collections.abc import Sequence

from absl import app, flags, logging

from experiments import choices, choices_page

_DATA = flags.DEFINE_string("data_dir", "data/pacs_features", "Folder of the .npz.")
_SEEDS = flags.DEFINE_integer("seeds", 10, "Runs of each method on each pair.")
_FIRST = flags.DEFINE_integer("first_seed", 0, "The first of them.")
_METHODS = flags.DEFINE_string("methods", "", "Rows, split by semicolons; empty: all.")
_PAGE = flags.DEFINE_bool("page", False, "Only write the page of the rows there are.")
_RESULTS = flags.DEFINE_string(
    "results", str(pathlib.Path(__file__).parent / "results/choices"), "Without suffix."
)

SIZES = {"photo": 1670, "cartoon": 2344, "sketch": 3929}
SHARED: choices.Fields = {  # one small network and one budget for all
    "model.widths": (256,),
    "methods.mme.head": "two_layer",
    "train.batch_source": 32,
    "train.batch_target": 32,
    "train.batch_unlabeled": 32,
    "train.steps": 150,
    "train.chunk": 50,
    "train.save_every": 150,
    "loss_predictor.steps": 100,
    "figures": False,
    **{f"policies.{p}.initial": 7 for p in ("single", "dual")},
    **{f"policies.{p}.per_round": 7 for p in ("single", "dual")},
    **{f"policies.{p}.purchases": 4 for p in ("single", "dual")},
    "policies.dual.source_rounds": 4,
}


def tasks(data: str) -> dict[str, choices.Fields]:
    """Pair of domains -> its fields."""
    return {
        f"{source} → {target}": {
            "source": f"{data}/{source}.npz",
            "target": f"{data}/{target}.npz",
            "half": SIZES[source] // 8,
            "tenth": SIZES[source] // 40,
            **SHARED,
        }
        for source, target in itertools.permutations(SIZES, 2)
    }


def main(argv: Sequence[str]) -> None:
    """Runs what is missing and writes the table."""
    del argv
    logging.set_verbosity(logging.WARNING)
    found = tasks(_DATA.value)
    table = choices.Table(
        title="PACS embeddings: what to label and what to keep",
        command="python -m experiments.choices_table --data_dir=data/pacs_features",
        tasks={name: ("configs/embeddings.py", found[name]) for name in found},
        methods=_METHODS.value.split(";") if _METHODS.value else [*choices.METHODS],
        seeds=range(_FIRST.value, _FIRST.value + _SEEDS.value),
        results=pathlib.Path(_RESULTS.value),
    )
    if not _PAGE.value:
        choices.fill(table)
    choices_page.write(table)


if __name__ == "__main__":
    app.run(main)
