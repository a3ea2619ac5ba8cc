"""Runs to compare, read from their folders and grouped by method."""

import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dact_jax import errors
from dact_jax.rounds import claim, workdir
from dact_jax.types import Row

METRICS = {  # name -> (column of metrics.jsonl, what it is)
    "test": ("test_accuracy", "test accuracy"),
    "mean_class": ("test_mean_class_accuracy", "test accuracy, mean over classes"),
    "validation": ("val_accuracy", "validation accuracy"),
}
_NAMED = 2  # differing settings that the name of a method spells out


class Run(NamedTuple):
    folder: pathlib.Path
    record: claim.Record
    seed: int
    rounds: Sequence[Row]  # the finished ones
    accuracy: Mapping[int, float]  # target labels -> %, of the last round with them


class Method(NamedTuple):
    """Runs that differ in their seed alone."""

    name: str
    runs: Sequence[Run]  # by seed
    settings: Mapping[str, Any]  # by dotted field, without the seed


def read(folders: Sequence[pathlib.Path], metric: str) -> list[Run]:
    """The runs in some folders.

    Args:
      metric: one of METRICS.

    Raises:
      InputError: a folder is not a run's, is given twice, or has no finished round
        with such an accuracy.
    """
    seen: dict[pathlib.Path, pathlib.Path] = {}
    for folder in folders:
        place = folder.resolve()
        if place in seen:
            raise errors.InputError(f"{folder} is given twice: leave it out once.")
        seen[place] = folder
    return [_read(folder, metric) for folder in folders]


def methods(runs: Sequence[Run]) -> list[Method]:
    """The runs by method, in the order in which each method occurs first.

    Raises:
      InputError: two runs of a method have the same seed.
    """
    groups: list[tuple[dict[str, Any], list[Run]]] = []
    for run in runs:
        settings = _settings(run)
        group = next((group for known, group in groups if known == settings), None)
        if group is None:
            groups.append((settings, [run]))
            continue
        for other in group:
            if other.seed == run.seed:
                raise errors.InputError(
                    f"{other.folder} and {run.folder} are the same method with the "
                    f"same seed, {run.seed}: leave one of them out."
                )
        group.append(run)
    names = _names([settings for settings, _ in groups])
    return [
        Method(name, sorted(group, key=lambda run: run.seed), settings)
        for name, (settings, group) in zip(names, groups, strict=True)
    ]


def differing(methods: Sequence[Method]) -> list[str]:
    """The fields that are not the same in all methods."""
    fields = dict.fromkeys(
        itertools.chain.from_iterable(method.settings for method in methods)
    )
    return [
        field
        for field in fields
        if any(
            method.settings.get(field) != methods[0].settings.get(field)
            for method in methods
        )
    ]


def _read(folder: pathlib.Path, metric: str) -> Run:
    record = claim.read(folder)
    workdir.check(folder)
    rounds = [row for row in workdir.read(folder) if row["event"] == "round"]
    if not rounds:
        raise errors.InputError(
            f"{folder} has no finished round yet: leave it out, or let it go on."
        )
    column, about = METRICS[metric]
    accuracy = {
        row["labels_target"]: 100 * row[column]
        for row in rounds
        if row.get(column) is not None
    }
    if not accuracy:
        there = [
            name for name, (c, _) in METRICS.items() if rounds[-1].get(c) is not None
        ]
        way = f"give --metric={there[0]}" if there else "leave it out"
        raise errors.InputError(f"{folder} has no {about}: {way}.")
    seed = record.config.get("seed", 0)
    return Run(folder, record, int(seed), rounds, accuracy)


def _settings(run: Run) -> dict[str, Any]:
    return {
        field: value
        for field, value in claim.flat(run.record.config).items()
        if field != "seed" and value != {}
    }


def _names(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """The name in each config; where two share it, with settings that differ."""
    plain = [str(settings.get("name", "run")) for settings in groups]
    names = []
    for number, (name, settings) in enumerate(zip(plain, groups, strict=True)):
        alike = [g for i, g in enumerate(groups) if plain[i] == name and i != number]
        fields = [
            field
            for field in settings
            if any(other.get(field) != settings[field] for other in alike)
        ]
        if fields:
            shown = ", ".join(f"{f}={settings[f]}" for f in fields[:_NAMED])
            more = f", {len(fields) - _NAMED} more" if len(fields) > _NAMED else ""
            name = f"{name} ({shown}{more})"
        names.append(name)
    return [
        name if names.count(name) == 1 else f"{name} #{names[:i].count(name) + 1}"
        for i, name in enumerate(names)
    ]
