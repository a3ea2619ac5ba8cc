"""S_AcT with every acquisition, R_AcT and D_AcT on six pairs of PACS embeddings.

Makes: experiments/results/choices.json, a row a run, and choices.md, their tables.
Data:  photo.npz, cartoon.npz and sketch.npz in --data_dir, each with features, label
       and path: the 1280 numbers that EfficientNet-Lite0 gives for each image.
Time:  145 min of training and selection on one CPU core.

    python -m experiments.choices_table --data_dir=data/pacs_features --seeds=10

A run whose row is in the .json already is not repeated. The page ends with
choices_notes.md.
"""

import itertools
import sys

from absl.flags import FlagValues

from experiments import choices, choices_page, commands, published, runs

SIZES = {"photo": 1670, "cartoon": 2344, "sketch": 3929}  # vectors of each domain
SHARED: choices.Fields = {  # the same small network and label budget for all methods
    "data.stratified": False,  # test images are a random third, as in the papers
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


def fields(folder: str, source: str, target: str) -> choices.Fields:
    """The fields of a task; four selections keep half, or a tenth, of the source."""
    return {
        "source": f"{folder}/{source}.npz",
        "target": f"{folder}/{target}.npz",
        "half": SIZES[source] // 8,
        "tenth": SIZES[source] // 40,
        **SHARED,
    }


def tasks(data_dir: str) -> dict[str, tuple[str, choices.Fields]]:
    """All tasks: name -> config file and fields, as `choices.Table` has them."""
    return {
        f"{source} → {target}": (
            "configs/embeddings.py",
            fields(data_dir, source, target),
        )
        for source, target in itertools.permutations(SIZES, 2)
    }


@commands.command(
    __doc__,
    commands.text("data_dir", "data/pacs_features", "Folder of the three .npz files."),
    *runs.flags("choices", seeds=10),
    *choices.FLAGS,
)
def main(flags: FlagValues) -> None:
    """Runs what is missing and writes the rows and the page."""
    table = choices.make_table(
        flags,
        tasks(flags.data_dir),
        tuple(choices.METHODS),
        title="PACS embeddings: what to label and what to keep",
        command="python -m experiments.choices_table --data_dir=data/pacs_features",
    )
    absent = choices.missing(table, flags)
    if absent:
        choices.fill(table, flags, absent)
    if absent or flags.page:
        rows = published.rows(choices.rows_path(table), flags)
        choices_page.write(table, rows)


if __name__ == "__main__":
    main(sys.argv)
