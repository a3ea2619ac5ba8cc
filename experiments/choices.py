"""Runs of the tables of S_AcT, R_AcT and D_AcT: what to label and what to keep.

A method is a preset of a config and the fields that differ from it. All methods of a
table buy equally many target labels.
"""

import collections
import itertools
import pathlib
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections
import numpy as np
from absl.flags import FlagValues

import dact_jax
from dact_jax import run_types
from dact_jax.configuration import build
from dact_jax.rounds import actions, checkpoint, loop, workdir
from dact_jax.run_types import Experiment
from dact_jax.types import Row, Task
from experiments import commands, fingerprints, picked, published, runs

Fields = Mapping[str, Any]

SCORES = ("pair", "mean_pair", "pred", "actual", "absdiff")
TARGET_LOSSES = ("brier", "cross_entropy")

# method -> (preset, fields that differ from it). These train on the whole source.
BUYING: Mapping[str, tuple[str, Fields]] = {
    "s_act": ("s_act", {}),
    "s_rt": ("s_rt", {}),
    "k_center, normalised": ("s_act", {"acquisitions.k_center.features": "normalized"}),
    "k_center, head": ("s_act", {"acquisitions.k_center.features": "head"}),
    **{name: ("s_act", {"acquisition": name}) for name in ("clue", "entropy")},
    **{name: ("s_act", {"acquisition": name}) for name in ("margin", "badge")},
}


def _choosing(share: str) -> dict[str, tuple[str, Fields]]:
    """R_AcT and D_AcT by score and target loss; `share` ends their names."""
    methods = {}
    for loss in TARGET_LOSSES:
        fields: Fields = {"methods.loss_prediction.target_loss": loss}
        methods[f"r_act, {loss}{share}"] = ("r_act", fields)
        for score in SCORES:
            scored = {**fields, "acquisitions.predicted_loss.score": score}
            methods[f"d_act, {score}, {loss}{share}"] = ("d_act", scored)
    return methods


# These choose source samples too: half of the source, or a tenth.
CHOOSING = _choosing("")
_SMALL = _choosing(", tenth")
TENTH = {
    name: _SMALL[name] for name in ("r_act, brier, tenth", "d_act, pair, brier, tenth")
}
# Not in the paper: the lowest losses of each class, in the source's proportions.
BY_CLASS: Mapping[str, tuple[str, Fields]] = {
    "d_act, pair, brier, proportional": (
        "d_act",
        {"acquisitions.predicted_loss.classes": "proportional"},
    )
}
# CLUE, the acquisition with the best accuracy, with a chosen source.
WITH_CLUE = {
    f"{name}, clue": (preset, {**fields, "acquisition": "clue"})
    for name, (preset, fields) in {**CHOOSING, **BY_CLASS}.items()
    if name in ("r_act, brier", "d_act, pair, brier, proportional")
}
METHODS: Mapping[str, tuple[str, Fields]] = {
    **BUYING,
    **CHOOSING,
    **TENTH,
    **BY_CLASS,
    **WITH_CLUE,
}

DIGITS = (  # rows of digits_choices: the paper's, and the best ones on embeddings
    "s_act",
    "s_rt",
    "r_act, brier",
    "d_act, pair, brier",
    "d_act, pair, brier, proportional",
    "clue",
    "d_act, pair, brier, proportional, clue",
)


class Table(NamedTuple):
    title: str  # of the page
    command: str  # that makes it, without --seeds
    # name -> path of a config file, and the fields of the task and of the table
    tasks: Mapping[str, tuple[str, Fields]]
    methods: Sequence[str]  # of METHODS, in order
    seeds: Iterable[int]
    results: pathlib.Path  # without suffix


FLAGS = (
    commands.integer("first_seed", 0, "The first seed.", least=0),
    runs.METHODS,
    runs.TASKS,
    runs.PAGE,
)


def make_table(
    flags: FlagValues,
    tasks: Mapping[str, tuple[str, Fields]],
    methods: Sequence[str],
    *,
    title: str,
    command: str,
) -> Table:
    """The table that the flags of an experiment describe.

    Args:
      flags: FLAGS and `runs.flags`.
      tasks: all tasks; --tasks selects some.
      methods: default of --methods.
      title: of the page.
      command: that makes it, without --seeds.
    """
    names = commands.selected(flags.tasks, tuple(tasks), "tasks")
    known = tuple(METHODS) if flags.methods else tuple(methods)
    return Table(
        title=title,
        command=command,
        tasks={
            name: (config, runs.shorten(fields, flags.steps))
            for name, (config, fields) in tasks.items()
            if name in names
        },
        methods=commands.selected(flags.methods, known, "methods"),
        seeds=range(flags.first_seed, flags.first_seed + flags.seeds),
        results=pathlib.Path(flags.results),
    )


def missing(table: Table, flags: FlagValues) -> list[tuple[str, str, int]]:
    """(method, task, seed) of the runs that are not in the file yet.

    Seeds are the outer loop: a table stopped early has fewer. With --page: none.

    Raises:
      InputError: the table must not be written to its files.
    """
    if flags.page:
        published.check_writable(table.results, flags)
        return []
    wanted = [
        (method, task, seed)
        for seed, task, method in itertools.product(
            table.seeds, table.tasks, table.methods
        )
    ]
    present = _by_run(rows_path(table), flags)
    return published.plan(table.results, flags, wanted, present)


def _by_run(path: pathlib.Path, flags: FlagValues) -> dict[tuple[str, str, int], Row]:
    rows = published.rows(path, flags)
    return {(row["method"], row["task"], row["seed"]): row for row in rows}


def fill(
    table: Table, flags: FlagValues, absent: Sequence[tuple[str, str, int]]
) -> None:
    """Makes runs that the file lacks, and writes the rows after each.

    Args:
      absent: of `missing`.

    Raises:
      InputError: a file of the data is not there.
    """
    path = rows_path(table)
    rows = _by_run(path, flags)
    for task in {task for _, task, _ in absent}:
        _, fields = table.tasks[task]
        published.check_files(fields.get("source", ""), fields.get("target", ""))
    changed = published.settings(flags)
    for method, task, seed in absent:
        config, fields = table.tasks[task]
        row = {"method": method, "task": task, "seed": seed}
        row |= run(config, method, {**fields, "seed": seed})
        rows[method, task, seed] = row | ({"settings": changed} if changed else {})
        runs.write(path, rows.values())
        last = 100 * row["test_accuracy"][-1]
        print(f"seed {seed}, {task}, {method}: {last:.1f} %", flush=True)


def rows_path(table: Table) -> pathlib.Path:
    """The file with a row a run."""
    return table.results.with_name(f"{table.results.name}.json")


def run(config: str, method: str, fields: Fields) -> dict[str, Any]:
    """Columns of the row of one run: accuracies in [0, 1] by round, and the picks.

    Args:
      config: path of a config file.
      method: of METHODS.
      fields: of task, table and seed. Besides fields of the config they hold "half" and
        "tenth": how many source samples a method chooses at once, by its name.
    """
    complete = configured(config, method, fields)
    with tempfile.TemporaryDirectory() as folder:
        experiment, task = _finish(complete, pathlib.Path(folder))
        rows = workdir.read(pathlib.Path(folder))
    row = _summary(rows, experiment) | picked.composition(experiment.pools, task)
    return row | {"code": fingerprints.of_run(complete, config, __name__)}


def configured(config: str, method: str, fields: Fields) -> ml_collections.ConfigDict:
    """The config of one run; the arguments are those of `run`."""
    preset, differs = METHODS[method]
    values = {**fields, **differs}
    sizes = {"tenth": values.pop("tenth"), "half": values.pop("half")}
    kept = sizes["tenth" if "tenth" in method else "half"]
    values["policies.dual.source_per_round"] = kept
    return dact_jax.config(f"{config}:preset={preset}", **values)


def _finish(
    config: ml_collections.ConfigDict, folder: pathlib.Path
) -> tuple[Experiment, Task]:
    """Runs a config without checkpoints: a run takes seconds and is never resumed."""
    built, _ = build.build(config)
    store = checkpoint.Store(save=lambda tree: None, restore=lambda template: None)
    bound = actions.bind(built, store, folder, run_types.Show())
    experiment = actions.begin(built, bound)
    return loop.run(experiment, bound, built.policy, built.key), built.task


def _summary(rows: Sequence[Row], experiment: Experiment) -> dict[str, Any]:
    rounds = [row for row in rows if row["event"] == "round"]
    selections = [row for row in rows if row["event"] == "select"]
    branches = [row["branch"] for row in selections if "branch" in row]
    seconds = {
        name: round(sum(row[f"seconds_{name}"] for row in selections), 2)
        for name in ("training", "scoring", "selecting")
    }
    return {
        "labels": [row["labels_target"] for row in rounds],
        "test_accuracy": [row["test_accuracy"] for row in rounds],
        "test_mean_class_accuracy": [r["test_mean_class_accuracy"] for r in rounds],
        "source_samples": rounds[-1]["source_samples"],
        "source_pool": rounds[-1]["source_pool"],
        "branches": dict(collections.Counter(branches)),
        "target_rows": np.flatnonzero(experiment.pools.target).tolist(),
        "seconds": round(sum(row["seconds"] for row in rounds), 2),
        "seconds_selection": seconds,
    }


def gaps(
    rows: Sequence[Row], method: str, rival: str, tasks: Sequence[str]
) -> dict[int, float]:
    """By how many points a method is above a rival, mean over the tasks, by seed.

    Seeds in which one of them lacks a task are left out.
    """
    last = {
        (row["method"], row["task"], row["seed"]): row["test_accuracy"][-1]
        for row in rows
    }
    seeds = sorted({seed for name, _, seed in last if name == method})
    return {
        seed: 100
        * statistics.mean(
            last[method, task, seed] - last[rival, task, seed] for task in tasks
        )
        for seed in seeds
        if all((name, task, seed) in last for name in (method, rival) for task in tasks)
    }
