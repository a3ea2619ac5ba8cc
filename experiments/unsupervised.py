"""Every training method without target labels, as rows of the two tables.

A row starts from a preset of a config and says what differs. All methods of a table
start from the same kind of network, trained on the source for as long, and then adapt
for as long; source-only goes on without the target instead.
"""

import itertools
import json
import operator
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments import runs

Fields = Mapping[str, Any]

_SGD: Fields = {
    "train.optimizer": "sgd",
    "train.learning_rate": 0.01,
    "train.schedule": "inverse",
    "train.weight_decay": 5e-4,
}
# method -> (preset, what differs from it)
METHODS: Mapping[str, tuple[str, Fields]] = {
    "source_only": ("source_only", _SGD),
    "dann": ("dann", {}),
    "dann (weight 0.3)": ("dann", {"methods.dann.weight": 0.3}),
    "dann (tll)": ("dann", {"methods.dann.form": "tll"}),
    "adda": ("adda", {}),
    "adda (reversal)": ("adda", {"methods.adda.form": "reversal"}),
    "mada": ("mada", {}),
    "jan": ("jan", {}),
    "jan (linear)": ("jan", {"methods.jan.estimator": "linear"}),
    "alda": ("alda", {}),
    "alda_dsbn": ("alda_dsbn", {}),
    "alda_dsbn (shared affine)": ("alda_dsbn", {"model.shared_affine": True}),
    "mme": ("mme", {"data.shots_per_class": 0}),
    "clue_mme": ("rda_clue", {"policy": "fixed"}),
    "clue_mme (weight 0.1)": (
        "rda_clue",
        {"policy": "fixed", "methods.clue_mme.first_entropy_weight": 0.1},
    ),
    "aada": ("rada", {"policy": "fixed"}),
}
VARIANTS = (
    "dann (weight 0.3)",
    "dann (tll)",
    "adda (reversal)",
    "jan (linear)",
    "clue_mme (weight 0.1)",
)
MAIN = tuple(name for name in METHODS if name not in VARIANTS)
PACS = ("photo", "cartoon", "sketch")  # domains whose embeddings are compared
ON_VECTORS: Fields = {  # one small network, batch size and pre-training for all
    "model.widths": (256,),
    "train.batch_source": 32,
    "train.batch_target": 32,
    "train.batch_unlabeled": 32,
    "pretrain.batch": 32,
    "pretrain.steps": 200,
    "pretrain.optimizer": "sgd",
    "pretrain.learning_rate": 0.01,
    "pretrain.schedule": "inverse",
    "pretrain.weight_decay": 5e-4,
    "train.steps": 500,
    "train.first_steps": 500,
    "train.save_every": 500,
    "eval.every": 100,
}
_OWN = ("mme", "adda")  # who are pre-trained with a head or dropout of their own
_TORCH = ("source_only", "clue_mme", "aada")  # whose classifiers start as torch's


def run(
    config: str, method: str, task: str, seed: int, root: pathlib.Path, fields: Fields
) -> dict[str, Any]:
    """One run's row; accuracies in [0, 1].

    Args:
      config: path of a config file.
      method: of METHODS.
      task: its name, for folders and rows.
      seed: of the run.
      root: folder of all runs of the table.
      fields: of the task and the table.
    """
    preset, differs = METHODS[method]
    name = method.split(" ")[0]
    family = "torch" if name in _TORCH else name if name in _OWN else "xavier"
    place = root / task / f"seed{seed}"
    shared = {
        "seed": seed,
        "pretrain.folder": str(place / f"pretrained_{family}"),
    }
    found = runs.finish(
        f"{config}:preset={preset}",
        place / re.sub(r"\W+", "_", method).strip("_"),
        {**fields, **differs, **shared},
    )
    (row,) = found
    keep = ("labels_target", "labels_val", "test_images", "seconds", *runs.COLUMNS)
    return {"method": method, "task": task, "seed": seed} | {k: row[k] for k in keep}


class Table(NamedTuple):
    title: str  # of the page
    command: str  # that makes it
    results: pathlib.Path  # <results>.json, .md, and what is to be said, _notes.md
    config: str  # path of a config file
    tasks: Mapping[str, Fields]  # name -> fields of the task and the table
    seeds: int
    methods: Sequence[str]  # of METHODS, in order
    root: pathlib.Path  # folder of the runs


def fill(table: Table) -> None:
    """Runs what is missing and writes rows and page.

    Rows of other methods and seeds that are there already stay. Seeds are the outer
    loop, so that a table that is stopped early is one of fewer seeds.
    """
    for seed in range(table.seeds):
        rows = {(row["method"], row["task"], row["seed"]): row for row in read(table)}
        for task, method in itertools.product(table.tasks, table.methods):
            row = run(table.config, method, task, seed, table.root, table.tasks[task])
            rows[method, task, seed] = row
            percent = 100 * row["test_accuracy"]
            print(f"seed {seed}, {task}, {method}: {percent:.1f} %", flush=True)
        runs.write(table.results.with_suffix(".json"), rows.values())
        write_page(table)


def read(table: Table) -> list[dict[str, Any]]:
    """The rows that there are."""
    path = table.results.with_suffix(".json")
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def write_page(table: Table) -> None:
    """The page of the rows that there are."""
    page = _page(table, read(table))
    table.results.with_suffix(".md").write_text(page, encoding="utf-8")


def _page(table: Table, rows: Sequence[Mapping[str, Any]]) -> str:
    seeds = len({row["seed"] for row in rows})
    found = {row["method"] for row in rows}
    methods = [name for name in METHODS if name in found]
    parts = [
        f"# {table.title}",
        f"Test accuracy in %, mean ± standard deviation over {seeds} seeds; no target "
        f"label is trained on. `mean` is over the tasks, its deviation over the seeds. "
        f"Made by `{table.command} --seeds={seeds}`.",
    ]
    for column, heading in runs.COLUMNS.items():
        shown = runs.by_task(
            rows, methods, tuple(table.tasks), operator.itemgetter(column)
        )
        parts.append(f"## {heading[0].upper()}{heading[1:]}\n\n{_EXPLAINED[column]}")
        parts.append(shown)
    notes = table.results.with_name(f"{table.results.name}_notes.md")
    if notes.exists():
        parts.append(notes.read_text(encoding="utf-8").strip())
    return "\n\n".join(parts) + "\n"


_EXPLAINED = {
    "test_accuracy": "The network of the last iteration.",
    "test_at_best_val": "The network with the best accuracy on the few labelled "
    "validation images of the target.",
    "best_test": "The network with the best test accuracy: what some papers report. It "
    "is chosen by the test labels, so it is optimistic.",
    "test_mean_class_accuracy": "The last network, each class counting the same.",
}
