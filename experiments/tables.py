"""The published tables: how each row is made again, and which code it depends on."""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import dact_jax
from dact_jax import errors
from dact_jax.types import Row
from experiments import (
    acquisitions_runs,
    acquisitions_table,
    choices,
    choices_table,
    digits_choices,
    digits_table,
    embeddings_table,
    fingerprints,
    mnist_table,
    precision,
    published,
    runs,
    unsupervised,
)
from experiments.acquisitions_runs import Choice, Group

_KIND = (  # columns that say what a run is
    *("method", "preset", "task", "config"),
    *("adaptation", "acquisition", "start"),
)
_FEATURES = "runs/acquisitions_digits"  # what experiments.acquisitions_digits writes
_SIDE = 28  # pixels of the images of digits
# Columns that no two runs share: times, and on what and by what they were measured.
_NOT_COMPARED = ("code", "settings", "cpu", "cpu_cores", "versions", "device", "commit")


class Places(NamedTuple):
    data: str  # folder of the data
    runs: pathlib.Path  # folder for what runs leave


class Table(NamedTuple):
    """How the rows of a file are made; files are named as in experiments/results."""

    again: Callable[[Row, Places], Row]  # raises InputError where data are missing
    modules: Callable[[Row], Sequence[str]]  # that a row depends on, for fingerprints


def differences(stored: Row, made: Row) -> dict[str, tuple[object, object]]:
    """Column -> (stored, made again), of the columns that should be equal and are not.

    Columns that one of them lacks are left out: an older row has fewer.
    """
    return {
        name: (stored[name], made[name])
        for name in stored
        if name in made
        and name not in _NOT_COMPARED
        and not name.startswith("seconds")
        and stored[name] != made[name]
    }


def modules(name: str, row: Row) -> Sequence[str]:
    """The modules that a row depends on.

    Raises:
      InputError: nothing is known of the file or of the row's method.
    """
    if name in fingerprints.TIMED:
        return fingerprints.TIMED[name]
    kind = {key: row[key] for key in _KIND if key in row}  # alike for all seeds
    return _modules(name, tuple(kind.items()))


@functools.cache
def _modules(name: str, kind: tuple[tuple[str, str], ...]) -> Sequence[str]:
    if name not in TABLES:
        raise errors.InputError(
            f"experiments.tables does not say how the rows of {name}.json are made."
        )
    try:
        return TABLES[name].modules(dict(kind))
    except KeyError as error:
        raise errors.InputError(f"there is no {error} any more.") from None


def fingerprint(name: str, row: Row) -> str:
    """The fingerprint that the row would have if it were made now."""
    return fingerprints.of(modules(name, row))


def _identity(row: Row) -> Row:
    return {name: row[name] for name in ("method", "task", "seed")}


def _choice(row: Row, tasks: Mapping[str, tuple[str, choices.Fields]]) -> Row:
    config, fields = tasks[row["task"]]
    published.check_files(fields.get("source", ""), fields.get("target", ""))
    made = choices.run(config, row["method"], {**fields, "seed": row["seed"]})
    return {**_identity(row), **made}


def _of_choice(
    row: Row, tasks: Mapping[str, tuple[str, choices.Fields]]
) -> Sequence[str]:
    config, fields = tasks[row["task"]]
    complete = choices.configured(config, row["method"], fields)
    return fingerprints.modules_of_run(complete, config, "experiments.choices")


def _pacs_choice(row: Row, places: Places) -> Row:
    return _choice(row, choices_table.tasks(f"{places.data}/pacs_features"))


def _digits_choice(row: Row, places: Places) -> Row:
    found = digits_choices.tasks(places.data, str(places.runs))
    if row["task"] == digits_choices.COLORED:
        published.check_files(f"{places.data}/mnist/mnist.npz")
        places.runs.mkdir(parents=True, exist_ok=True)
        digits_choices.smaller(places.data, places.runs)
    return _choice(row, found)


def _unsupervised(
    row: Row, places: Places, config: str, tasks: Mapping[str, unsupervised.Fields]
) -> Row:
    fields = tasks[row["task"]]
    published.check_files(fields["source"], fields["target"])
    method, task, seed = _identity(row).values()
    return unsupervised.run(config, method, task, seed, places.runs, fields)


def _of_unsupervised(
    row: Row, config: str, tasks: Mapping[str, unsupervised.Fields]
) -> Sequence[str]:
    complete = unsupervised.configured(config, row["method"], tasks[row["task"]])
    return fingerprints.modules_of_run(complete, config, "experiments.unsupervised")


def _pacs(row: Row, places: Places) -> Row:
    tasks = embeddings_table.tasks(f"{places.data}/pacs_features")
    return _unsupervised(row, places, embeddings_table.CONFIG, tasks)


def _mnist(row: Row, places: Places) -> Row:
    tasks = mnist_table.tasks(places.data)
    return _unsupervised(row, places, mnist_table.CONFIG, tasks)


_DIGITS = {**digits_table.FIELDS, **runs.resize(_SIDE)}


def _digits(row: Row, places: Places) -> Row:
    return digits_table.run(row["preset"], row["seed"], places.runs, _DIGITS)


def _of_digits(row: Row) -> Sequence[str]:
    config = digits_table.configured(row["preset"], _DIGITS)
    return fingerprints.modules_of_run(config, digits_table.CONFIG, digits_table.MODULE)


def _precision(row: Row, places: Places) -> Row:
    return precision.measure(row["config"], row["seed"], row["precision"], 0)


def _of_precision(row: Row) -> Sequence[str]:
    config = dact_jax.config(row["config"])
    return fingerprints.modules_of_run(config, row["config"], precision.MODULE)


def _acquisition(row: Row, places: Places) -> Row:
    tasks = acquisitions_table.tasks(places.data, _FEATURES, row["seed"] + 1, 0)
    task = tasks[row["task"]]
    files = (task.fields.get(f"data.{side}", "") for side in ("source", "target"))
    published.check_files(*files)
    group = Group(row["task"], row["adaptation"], row["seed"])
    choice = Choice(row["acquisition"], row["start"])
    ((_, made),) = acquisitions_runs.run_group(task, group, [choice])
    return {**group._asdict(), **choice._asdict(), **made}


def _of_acquisition(row: Row) -> Sequence[str]:
    task = acquisitions_table.tasks("", "", 1, 0)[row["task"]]
    choice = Choice(row["acquisition"], row["start"])
    return acquisitions_runs.modules(task, row["adaptation"], choice)


TABLES = {  # name of a file in experiments/results -> its table
    "acquisitions": Table(_acquisition, _of_acquisition),
    "choices": Table(
        _pacs_choice, lambda row: _of_choice(row, choices_table.tasks(""))
    ),
    "digits_choices": Table(
        _digits_choice, lambda row: _of_choice(row, digits_choices.tasks("", ""))
    ),
    "digits": Table(_digits, _of_digits),
    "embeddings": Table(
        _pacs,
        lambda row: _of_unsupervised(
            row, embeddings_table.CONFIG, embeddings_table.tasks("")
        ),
    ),
    "mnist": Table(
        _mnist,
        lambda row: _of_unsupervised(row, mnist_table.CONFIG, mnist_table.tasks("")),
    ),
    "precision": Table(_precision, _of_precision),
}
