"""What to label and what to keep: rows of the tables of S_AcT, R_AcT and D_AcT.

A row starts from a preset and says what differs; all rows of a table buy as many target
labels. No checkpoints are kept: a run takes seconds.
"""

import collections
import contextlib
import io
import itertools
import json
import pathlib
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dact_jax import (
    build,
    checkpoint,
    config as defaults,
    engine,
    progress,
    rounds,
    workdir,
)
from dact_jax.types import Experiment
from experiments import runs

Fields = Mapping[str, Any]
Row = Mapping[str, Any]

SCORES = ("pair", "mean_pair", "pred", "actual", "absdiff")
TARGET_LOSSES = ("brier", "cross_entropy")

# Who buys target labels; the whole source is trained on.
BUYING: Mapping[str, tuple[str, Fields]] = {
    "s_act": ("s_act", {}),
    "s_rt": ("s_rt", {}),
    "k_center, normalised": ("s_act", {"acquisitions.k_center.features": "normalized"}),
    "k_center, head": ("s_act", {"acquisitions.k_center.features": "head"}),
    **{name: ("s_act", {"acquisition": name}) for name in ("clue", "entropy")},
    **{name: ("s_act", {"acquisition": name}) for name in ("margin", "badge")},
}


def _choosing(share: str) -> dict[str, tuple[str, Fields]]:
    """R_AcT, and D_AcT by score and target loss, that keep a share of the source."""
    found = {}
    for loss in TARGET_LOSSES:
        fields: Fields = {"methods.loss_prediction.target_loss": loss}
        found[f"r_act, {loss}{share}"] = ("r_act", fields)
        for score in SCORES:
            own = {**fields, "acquisitions.predicted_loss.score": score}
            found[f"d_act, {score}, {loss}{share}"] = ("d_act", own)
    return found


# Who chooses source samples too; half of the source, and where it says so a tenth.
CHOOSING = _choosing("")
_SMALL = _choosing(", tenth")
TENTH = {
    name: _SMALL[name]
    for name in (
        "r_act, brier, tenth",
        "d_act, pair, brier, tenth",
        "d_act, pred, cross_entropy, tenth",
        "d_act, actual, cross_entropy, tenth",
    )
}
# The best buyer found, with a chosen source.
WITH_CLUE = {
    f"{name}, clue": (preset, {**fields, "acquisition": "clue"})
    for name, (preset, fields) in CHOOSING.items()
    if name in ("r_act, brier", "d_act, pair, brier", "d_act, pred, cross_entropy")
}
METHODS: Mapping[str, tuple[str, Fields]] = {
    **BUYING,
    **CHOOSING,
    **TENTH,
    **WITH_CLUE,
}


class Table(NamedTuple):
    config: str  # path of a config file
    tasks: Mapping[str, Fields]  # name -> fields of the task and the table
    methods: Sequence[str]  # of METHODS, in order
    seeds: Iterable[int]
    results: pathlib.Path  # <results>.json has a row a run


def fill(table: Table) -> None:
    """Runs what is missing and writes the rows; those that are there stay.

    Seeds are the outer loop, so a table that is stopped early has fewer seeds.
    """
    done = {(row["method"], row["task"], row["seed"]): row for row in read(table)}
    for seed, task, method in itertools.product(
        table.seeds, table.tasks, table.methods
    ):
        if (method, task, seed) in done:
            continue
        row = {"method": method, "task": task, "seed": seed}
        done[method, task, seed] = row | run(
            table.config, method, {**table.tasks[task], "seed": seed}
        )
        runs.write(table.results.with_suffix(".json"), done.values())
        last = done[method, task, seed]["test_accuracy"][-1]
        print(f"seed {seed}, {task}, {method}: {100 * last:.1f} %", flush=True)


def read(table: Table) -> list[dict[str, Any]]:
    """The rows that there are."""
    path = table.results.with_suffix(".json")
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def run(config: str, method: str, fields: Fields) -> dict[str, Any]:
    """One run: accuracies in [0, 1] by round, and what was picked.

    Args:
      config: path of a config file.
      method: of METHODS.
      fields: of task, table and seed; "tenth" and "half" are not fields but say how
        many source samples are chosen each time.
    """
    preset, differs = METHODS[method]
    made = defaults.load(f"{config}:preset={preset}")
    given = {**fields, **differs}
    sizes = {"tenth": given.pop("tenth"), "half": given.pop("half")}
    made.update_from_flattened_dict(given)
    share = "tenth" if "tenth" in method else "half"
    made.policies.dual.source_per_round = sizes[share]
    with tempfile.TemporaryDirectory() as folder:
        experiment = _finish(made, pathlib.Path(folder))
        rows = workdir.read(pathlib.Path(folder))
    return _summary(rows, experiment, made)


def _finish(config: Any, folder: pathlib.Path) -> Experiment:
    made, _ = build.build(config)
    nowhere = checkpoint.Store(lambda tree: None, lambda like: None, lambda: None)
    quiet = progress.Show(lambda *args: None, lambda row: None)
    act = engine.actions(made, nowhere, folder, quiet)
    with contextlib.redirect_stdout(io.StringIO()):
        return rounds.run(engine.begin(made, act), act, made.policy, made.key)


def _summary(
    rows: Sequence[Row], experiment: Experiment, config: Any
) -> dict[str, Any]:
    ends = [row for row in rows if row["event"] == "round"]
    chosen = [row for row in rows if row["event"] == "select"]
    decided = [row for row in chosen if "branch" in row]
    spent = {
        name: round(sum(row[f"seconds_{name}"] for row in chosen), 2)
        for name in ("training", "scoring", "selecting")
    }
    return {
        "labels": [row["labels_target"] for row in ends],
        "test_accuracy": [row["test_accuracy"] for row in ends],
        "test_mean_class_accuracy": [row["test_mean_class_accuracy"] for row in ends],
        "labels_per_class": list(ends[-1]["labels_per_class"].values()),
        "source_samples": ends[-1]["source_samples"],
        "source_pool": ends[-1]["source_pool"],
        "branches": dict(collections.Counter(row["branch"] for row in decided)),
        "target_rows": np.flatnonzero(experiment.pools.target).tolist(),
        "seconds": round(sum(row["seconds"] for row in ends), 2),
        "seconds_selection": spent,
    }


def gaps(
    rows: Sequence[Row], one: str, other: str, tasks: Sequence[str]
) -> dict[int, float]:
    """Seed -> how many points one method is above another, mean over the tasks."""
    last = {
        (row["method"], row["task"], row["seed"]): row["test_accuracy"][-1]
        for row in rows
    }
    seeds = sorted({seed for method, _, seed in last if method == one})
    return {
        seed: 100
        * statistics.mean(
            last[one, task, seed] - last[other, task, seed] for task in tasks
        )
        for seed in seeds
        if all((name, task, seed) in last for name in (one, other) for task in tasks)
    }
