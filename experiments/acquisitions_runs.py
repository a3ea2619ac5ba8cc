"""Runs of the table of acquisitions: every acquisition on one network and one source.

A group is a task, an adaptation and a seed. Its data are read, its network is trained
on the source and its programs are compiled once; then every acquisition and start buys
labels from that same network. Random numbers are those of the seed, so two runs of a
group differ in their picks alone.
"""

import contextlib
import functools
import itertools
import pathlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import dact_jax
from dact_jax import plugins, run_types
from dact_jax.configuration import build
from dact_jax.policies import _pool_sizes, _purchases
from dact_jax.rounds import actions, checkpoint, claim, loop, session
from dact_jax.run_types import Run
from dact_jax.types import (
    Acquire,
    Acquisitions,
    Key,
    Lab,
    Policy,
    Pools,
    PyTree,
    Row,
    Selection,
    Variables,
)
from experiments import fingerprints

Fields = Mapping[str, Any]

PER_CLASS = (1, 2, 3, 5, 10)  # labels a class, of each round
# Name in the table -> acquisition, and the options that differ from its defaults.
ACQUISITIONS: Mapping[str, tuple[str, Fields]] = {
    "random": ("random", {}),
    "k_center": ("k_center", {}),
    "entropy": ("entropy", {}),
    "margin": ("margin", {}),
    "badge": ("badge", {}),
    "clue": ("clue", {}),
    "herding": ("herding", {}),
    "u_herding": ("u_herding", {}),
    "u_herding, input": ("u_herding", {"features": "input", "normalize": True}),
    "prob_cover": ("prob_cover", {}),
    "typiclust": ("typiclust", {}),
    "las": ("las", {}),
    "energy": ("energy", {}),
    "mhp": ("mhp", {}),
    "dirichlet": ("dirichlet", {}),
    "drop_query": ("drop_query", {}),
}
STARTS = ("random", "herding")  # who chooses the first labels
# Besides, by the acquisition that chooses the later ones.
ALIKE = ("u_herding", "u_herding, input")
ADAPTATIONS: Mapping[str, Fields] = {
    "mme": {"method": "mme"},
    "fine-tuning": {"method": "source_only"},  # source and bought labels, supervised
}


class Task(NamedTuple):
    config: str  # path of a config file
    num_classes: int
    fields: Fields
    seeds: int


class Group(NamedTuple):
    task: str
    adaptation: str
    seed: int


class Choice(NamedTuple):
    acquisition: str  # of ACQUISITIONS
    start: str  # of STARTS or ALIKE


def choices(acquisitions: Sequence[str]) -> list[Choice]:
    """These acquisitions with each of their starts."""
    return [
        Choice(name, start)
        for name in acquisitions
        for start in (*STARTS, *(each for each in ALIKE if each == name))
    ]


def run_group(
    task: Task, group: Group, choices: Sequence[Choice]
) -> Iterator[tuple[Choice, Row]]:
    """Yields the row of each choice: test accuracy in [0, 1] by round, and seconds."""
    fields = {**task.fields, **ADAPTATIONS[group.adaptation], "seed": group.seed}
    # Of all acquisitions it asks most of a forward pass: the passes with dropout.
    fields["acquisition"] = "drop_query"
    config = dact_jax.config(f"{task.config}:preset=s_act", **fields)
    budgets = [number * task.num_classes for number in PER_CLASS]
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        run = _pretrained(config, folder / "pretrained")
        # Every acquisition may ask for these; they are the same for all.
        run = run._replace(
            policy=_policy(run, Choice("random", "random"), budgets),
            reads=((), ("input", "bought")),
        )
        store = checkpoint.Store(save=lambda tree: None, restore=lambda template: None)
        (folder / "run").mkdir()
        verbs = actions.bind(run, store, folder / "run", run_types.Show())
        for choice in choices:
            row = _finish(run, verbs, _policy(run, choice, budgets))
            code = fingerprints.of(modules(task, group.adaptation, choice))
            yield choice, {**row, "code": code}


def modules(task: Task, adaptation: str, choice: Choice) -> list[str]:
    """The modules that a row depends on, for its fingerprint."""
    acquisition, start = (
        ACQUISITIONS[name][0] for name in (choice.acquisition, choice.start)
    )
    fields = {**task.fields, **ADAPTATIONS[adaptation], "acquisition": acquisition}
    config = dact_jax.config(f"{task.config}:preset=s_act", **fields)
    found = fingerprints.modules_of_run(config, task.config, __name__)
    tasks = "experiments.acquisitions_table"  # their fields
    return [*found, tasks, f"dact_jax.acquisitions.{start}"]


def _pretrained(config: Any, folder: pathlib.Path) -> Run:
    """The run with a network that is trained on the source alone."""
    made, data = build.build(config)
    take = functools.partial(claim.claim, data=data, devices=["cpu"])

    def silent(stage: str, lengths: object, position: object) -> Any:
        return contextlib.nullcontext(run_types.Show())

    ready, _ = session.pretrain(made, folder, take, silent)
    return ready


def _finish(run: Run, verbs: loop.Actions, policy: Policy) -> Row:
    """The columns that a choice's purchases give."""
    rounds: list[Row] = []
    spent: list[float] = []

    def record_selection(row: Row) -> None:
        spent.append(row["seconds_selecting"])

    verbs = verbs._replace(
        record_round=rounds.append, record_selection=record_selection
    )
    experiment = actions.begin(run._replace(policy=policy), verbs)
    began = time.perf_counter()
    experiment = loop.run(experiment, verbs, policy, run.key)
    return {
        "labels": [row["labels_target"] for row in rounds],
        "test_accuracy": [round(row["test_accuracy"], 4) for row in rounds],
        "seconds": round(time.perf_counter() - began, 1),
        "seconds_selecting": round(float(np.mean(spent)), 3) if spent else 0.0,
    }


def _policy(run: Run, choice: Choice, budgets: Sequence[int]) -> Policy:
    """S_AcT with these numbers of labels in its rounds, and this start."""
    acquire, start = _load(choice.acquisition), _load(choice.start)
    chosen = choice.start != "random"
    growth = [budgets[0], *(b - a for a, b in itertools.pairwise(budgets))]

    def buying(acquire: Acquire, per_round: int) -> _purchases.Purchases:
        budget = _pool_sizes.Budget("the table", growth[0], per_round, 1)
        both = Acquisitions(target=acquire, source=acquire)
        start = "acquisition" if chosen else "random"
        return _purchases.buying(both, run.given, budget, start)

    first = buying(start, growth[1])
    later = [buying(acquire, number) for number in growth[1:]]

    def init(lab: Lab, num_source: int, num_target: int, key: Key) -> Selection:
        begun = first.init(lab, num_source, num_target, key)
        return begun._replace(memory=np.int32(0), again=chosen)

    def select(
        lab: Lab, variables: Variables, pools: Pools, memory: PyTree, key: Key
    ) -> Selection:
        bought = int(memory)  # purchases so far, without the first labels
        if chosen and not pools.target.any():
            assert first.first is not None
            return first.first(lab, variables, pools, memory, key)
        after = later[bought].next(lab, variables, pools, memory, key)
        return after._replace(memory=np.int32(bought + 1))

    return Policy(init, select, num_rounds=len(budgets), num_selections=len(later))


def _load(name: str) -> Acquire:
    plugin, options = ACQUISITIONS[name]
    return plugins.load("acquisitions", plugin, **options)
