"""Runs and page of the tables of training methods that use no target labels.

A method is a preset of a config and the fields that differ from it. Within a table all
methods start from the same kind of network, pre-trained on the source for equally many
iterations, and then train for equally many: `source_only` on the source alone, the
others on both domains.
"""

import itertools
import operator
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from absl.flags import FlagValues
from ml_collections import ConfigDict

import dact_jax
from dact_jax import errors
from dact_jax.types import Row
from experiments import commands, fingerprints, published, runs

Fields = Mapping[str, Any]

_SGD: Fields = {
    "train.optimizer": "sgd",
    "train.learning_rate": 0.01,
    "train.schedule": "inverse",
    "train.weight_decay": 5e-4,
}
# method -> (preset, fields that differ from it)
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
ON_VECTORS: Fields = {  # the same network, batches and pre-training for all methods
    "data.stratified": False,  # test images are a random third, as in the papers
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
# Methods of which the pre-trained network has another head or another dropout.
_OTHER_NETWORK = ("mme", "adda")
_TORCH_INIT = ("source_only", "clue_mme", "aada")  # classifiers initialized as torch's


class Table(NamedTuple):
    title: str  # of the page
    command: str  # that makes it
    results: pathlib.Path  # without suffix
    config: str  # path of a config file
    tasks: Mapping[str, Fields]  # name -> fields of the task and of the table
    seeds: int
    methods: Sequence[str]  # of METHODS, in order
    root: pathlib.Path  # folder of the runs


def make(
    flags: FlagValues,
    tasks: Mapping[str, Fields],
    *,
    title: str,
    command: str,
    config: str,
) -> None:
    """Does what the flags of an experiment ask for: finishes its runs, writes its page.

    Args:
      flags: --seeds, --methods, --tasks, --steps, --page, --results and --runs.
      tasks: name -> fields of the task and of the table.
      title: of the page.
      command: that makes it, without --seeds.
      config: path of a config file.
    """
    names = commands.selected(flags.tasks, tuple(tasks), "tasks")
    table = Table(
        title=title,
        command=command,
        results=pathlib.Path(flags.results),
        config=config,
        tasks={name: runs.shorten(tasks[name], flags.steps) for name in names},
        seeds=flags.seeds,
        methods=commands.selected(flags.methods, tuple(METHODS), "methods"),
        root=pathlib.Path(flags.runs),
    )
    if flags.page:
        published.check_writable(table.results, flags)
        write_page(table, published.rows(_path(table), flags))
    else:
        fill(table, flags)


def run(
    config: str, method: str, task: str, seed: int, root: pathlib.Path, fields: Fields
) -> dict[str, Any]:
    """The row of one run; accuracies are in [0, 1].

    Args:
      config: path of a config file.
      method: of METHODS.
      task: its name, for folders and rows.
      root: folder of all runs of the table.
      fields: of the task and of the table.
    """
    preset, differs = METHODS[method]
    name = method.split(" ")[0]
    other = name if name in _OTHER_NETWORK else "xavier"
    network = "torch" if name in _TORCH_INIT else other
    folder = root / task / f"seed{seed}"
    (row,) = runs.finish(
        f"{config}:preset={preset}",
        folder / re.sub(r"\W+", "_", method).strip("_"),
        {
            **fields,
            **differs,
            "seed": seed,
            "pretrain.folder": str(folder / f"pretrained_{network}"),
        },
    )
    keep = ("labels_target", "labels_val", "test_images", "seconds", *runs.COLUMNS)
    found = {"method": method, "task": task, "seed": seed} | {k: row[k] for k in keep}
    complete = configured(config, method, fields)
    return found | {"code": fingerprints.of_run(complete, config, __name__)}


def configured(config: str, method: str, fields: Fields) -> ConfigDict:
    """The config of a run, but for its seed and the folder of pre-training."""
    preset, differs = METHODS[method]
    return dact_jax.config(f"{config}:preset={preset}", **{**fields, **differs})


def fill(table: Table, flags: FlagValues) -> None:
    """Finishes the runs that have no row yet, and writes rows and page after each seed.

    Seeds are the outer loop, so a table that is stopped early is complete, with fewer
    seeds.

    Raises:
      InputError: the rows must not be written to the file, or data are not there.
    """
    path = _path(table)
    wanted = [
        (method, task, seed)
        for seed, task, method in itertools.product(
            range(table.seeds), table.tasks, table.methods
        )
    ]
    rows = {(r["method"], r["task"], r["seed"]): r for r in published.rows(path, flags)}
    absent = published.plan(table.results, flags, wanted, rows)
    for task in {task for _, task, _ in absent}:
        published.check_files(table.tasks[task]["source"], table.tasks[task]["target"])
    changed = published.settings(flags)
    for seed, group in itertools.groupby(absent, key=operator.itemgetter(2)):
        for method, task, _ in group:
            row = run(table.config, method, task, seed, table.root, table.tasks[task])
            row |= {"settings": changed} if changed else {}
            rows[method, task, seed] = row
            percent = 100 * row["test_accuracy"]
            print(f"seed {seed}, {task}, {method}: {percent:.1f} %", flush=True)
        runs.write(path, rows.values())
        write_page(table, list(rows.values()))


def write_page(table: Table, rows: Sequence[Row]) -> None:
    """Writes the page of rows.

    Raises:
      InputError: there are none.
    """
    if not rows:
        raise errors.InputError(f"{_path(table)} has no row: run the table first.")
    runs.write_page(table.results, _parts(table, rows))


def _path(table: Table) -> pathlib.Path:
    return table.results.with_name(f"{table.results.name}.json")


def _parts(table: Table, rows: Sequence[Row]) -> list[str]:
    seeds = len({row["seed"] for row in rows})
    present = {row["method"] for row in rows}
    methods = [name for name in METHODS if name in present]
    parts = [
        f"# {table.title}",
        f"Test accuracy in %, mean ± standard deviation over {seeds} seeds; no target "
        f"label is trained on. `mean` is over the tasks, its deviation over the seeds. "
        f"Made by `{table.command} --seeds={seeds}`.",
    ]
    for column, heading in runs.COLUMNS.items():
        parts.append(f"## {heading[0].upper()}{heading[1:]}\n\n{_MEANING[column]}")
        parts.append(
            runs.by_task(rows, methods, tuple(table.tasks), operator.itemgetter(column))
        )
    return parts


_MEANING = {
    "test_accuracy": "The network of the last iteration.",
    "test_at_best_val": "The network with the best accuracy on the few labelled "
    "validation images of the target.",
    "best_test": "The network with the best test accuracy: what some papers report. It "
    "is chosen by the test labels, so it is optimistic.",
    "test_mean_class_accuracy": "The last network, each class counting the same.",
}
