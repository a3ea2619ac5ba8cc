"""What to label and what to keep: rows of the tables of S_AcT, R_AcT and D_AcT.

A row starts from a preset and says what differs; all rows of a table buy as many target
labels. No checkpoints are kept: a run takes seconds.
"""

import collections
import itertools
import json
import pathlib
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dact_jax import run_types
from dact_jax.configuration import build, files
from dact_jax.rounds import actions, checkpoint, loop, workdir
from dact_jax.types import Experiment, Pools, Task
from experiments import picked, runs

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
    )
}
# Not the paper's: the lowest of each class, so that N has the classes of the source.
BY_CLASS: Mapping[str, tuple[str, Fields]] = {
    "d_act, pair, brier, proportional": (
        "d_act",
        {"acquisitions.predicted_loss.classes": "proportional"},
    )
}
# The best buyer found, with a chosen source.
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

DIGITS = (  # rows of its table: the paper's, and what that of embeddings speaks for
    "s_act",
    "s_rt",
    "r_act, brier",
    "d_act, pair, brier",
    "d_act, pair, brier, proportional",
    "clue",
    "d_act, pair, brier, proportional, clue",
)


class Table(NamedTuple):
    title: str  # of its page
    command: str  # that makes it
    # name -> path of a config file, and fields of the task and the table
    tasks: Mapping[str, tuple[str, Fields]]
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
        config, fields = table.tasks[task]
        done[method, task, seed] = row | run(config, method, {**fields, "seed": seed})
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
      fields: of task, table and seed; "half" and "tenth" are not fields but say how
        many source samples are chosen each time.
    """
    preset, differs = METHODS[method]
    made = files.load(f"{config}:preset={preset}")
    given = {**fields, **differs}
    sizes = {"tenth": given.pop("tenth"), "half": given.pop("half")}
    made.update_from_flattened_dict(given)
    share = "tenth" if "tenth" in method else "half"
    made.policies.dual.source_per_round = sizes[share]
    with tempfile.TemporaryDirectory() as folder:
        experiment, task = _finish(made, pathlib.Path(folder))
        rows = workdir.read(pathlib.Path(folder))
    return _summary(rows, experiment) | looks(experiment.pools, task)


def _finish(config: Any, folder: pathlib.Path) -> tuple[Experiment, Task]:
    made, _ = build.build(config)
    nowhere = checkpoint.Store(lambda tree: None, lambda like: None, lambda: None)
    quiet = run_types.Show()
    act = actions.bind(made, nowhere, folder, quiet)
    done = loop.run(actions.begin(made, act), act, made.policy, made.key)
    return done, made.task


def _summary(rows: Sequence[Row], experiment: Experiment) -> dict[str, Any]:
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
        "source_samples": ends[-1]["source_samples"],
        "source_pool": ends[-1]["source_pool"],
        "branches": dict(collections.Counter(row["branch"] for row in decided)),
        "target_rows": np.flatnonzero(experiment.pools.target).tolist(),
        "seconds": round(sum(row["seconds"] for row in ends), 2),
        "seconds_selection": spent,
    }


def looks(pools: Pools, task: Task) -> dict[str, Any]:
    """How picks differ from what they were picked from: columns of a row.

    `source_variation` and `target_variation`: total variation of the classes of N and
    all of the source, of T_l and all of its pool; `source_to_target`, of N and the
    target's pool; `unseen_classes`, without a bought label; `target_apart`, see
    `picked.apart`, mean over T_l.
    """
    source, target = (
        np.asarray(domain.train.label) for domain in (task.source, task.target)
    )

    def count(label: np.ndarray) -> np.ndarray:
        return np.bincount(label[label >= 0], minlength=len(task.class_names))

    kept, bought = count(source[pools.source]), count(target[pools.target])
    return {
        "source_variation": round(picked.variation(kept, count(source)), 4),
        "source_to_target": round(picked.variation(kept, count(target)), 4),
        "target_variation": round(picked.variation(bought, count(target)), 4),
        "unseen_classes": int((bought == 0).sum()),
        "target_apart": round(float(picked.apart(task.target)[pools.target].mean()), 4),
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
