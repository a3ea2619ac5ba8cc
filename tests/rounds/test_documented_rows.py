"""Every field of metrics.jsonl is in docs/run_folder.md, and no field is only there."""

import functools
import pathlib
import re
import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dact_jax import plugins, runner
from dact_jax.rounds import actions, workdir
from dact_jax.types import SKIPPED
from tests import toy
from tests.reports import test_tensorboard

PAGE = pathlib.Path("docs/run_folder.md")
TYPES = {  # what the page calls them -> how Python reads them
    "text": (str,),
    "integer": (int,),
    "number": (float, int),
    "object": (dict,),
    "null": (type(None),),
}
UNITS = ("", "share", "seconds", "iterations", "images", "labels", "samples")
EVENTS = ("train", "eval", "round", "select", "correct")  # with a table of their own
EVERY_ROW = "metrics.jsonl, field by field"
TAGS = (  # of a round, for TensorBoard
    *("test_accuracy", "test_mean_class_accuracy", "val_accuracy"),
    *("labels_target", "source_samples"),
)
METHODS = plugins.names("methods")


class Field(NamedTuple):
    types: tuple[type, ...]
    unit: str
    lines: tuple[str, ...]  # steps of a policy that have it; (): all rows of the event


def _tables(heading):
    """The tables in a section of the page: lists of rows, each a list of cells."""
    _, text = PAGE.read_text(encoding="utf-8").split(f"# {heading}\n")
    section = re.split(r"\n##+ ", text)[0]
    for table in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE):
        lines = table.splitlines()[2:]
        yield [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def _names(cell):
    return re.findall(r"`([^`]+)`", cell)


def _documented(heading):
    """{field: Field} of the first table of a section."""
    found = {}
    for names, written, unit, text in next(_tables(heading)):
        kinds = sum((TYPES[word] for word in written.split(" or ")), ())
        assert unit in UNITS
        assert text
        lines = (
            tuple(_names(text.rpartition("; with ")[2])) if "; with " in text else ()
        )
        for name in _names(names):
            assert name not in found, name
            found[name] = Field(kinds, unit, lines)
    return found


def _parts(method):
    """Names of the losses that the page gives a method."""
    _, table = _tables("Event train")
    return {
        name
        for names, methods, text in table
        if method in methods.split(", ")
        for name in _names(names)
    }


def _expected(row):
    """{field: Field} that the page gives a row."""
    event = "round" if row["event"] == "pretrain" else row["event"]
    own = _documented(f"Event {event}")
    if event == "train":
        own |= {part: Field((float,), "", ()) for part in _parts("mme")}
    if event == "select":
        own = {
            name: field
            for name, field in own.items()
            if not field.lines or row["line"] in field.lines
        }
    return _documented(EVERY_ROW) | own


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run in which everything happens that rows are written of, but corrections."""
    folder = tmp_path_factory.mktemp("documented")
    changes = {"pretrain.steps": 2, "eval.every": 4, "tensorboard": True}
    config = toy.vector_config(folder, "d_act", **changes)
    runner.run(config, folder / "run")
    names = np.array([f"{row:02}" for row in range(3)])
    task = types.SimpleNamespace(
        class_names=("cat", "dog"), target=types.SimpleNamespace(id=names)
    )
    run = types.SimpleNamespace(task=task)
    row = actions.corrections(run, 1, np.array([0, 2]), np.array([1, 0, SKIPPED]))
    workdir.append(folder / "run", [row])
    return folder / "run"


def test_each_row_has_the_fields_of_the_page(finished):
    for row in workdir.read(finished):
        expected = _expected(row)
        assert row.keys() == expected.keys(), row
        for name, value in row.items():
            field = expected[name]
            assert type(value) in field.types, (name, value)
            if field.unit == "share" and value is not None:
                assert 0 <= value <= 1


def test_each_event_and_each_step_of_a_policy_is_written(finished):
    rows = workdir.read(finished)
    (text,) = (cells[3] for cells in next(_tables(EVERY_ROW)) if "`event`" in cells[0])
    named = set(_names(text))
    assert named == {*EVENTS, "pretrain"} == {row["event"] for row in rows}
    (text,) = (c[3] for c in next(_tables("Event select")) if "`line`" in c[0])
    steps = {row["line"] for row in rows if row["event"] == "select"}
    assert steps == {*_names(text)} - {"dual"}
    table = _documented("Event select").values()
    assert {line for field in table for line in field.lines} <= steps


def test_tensorboard_gets_the_same_numbers_and_the_curves(finished):
    shown = set()
    for event in test_tensorboard.events(finished):
        shown |= {(value.tag, event.step) for value in event.summary.value}
    curves = ("learning_curve", "source_curve")
    expected = {(f"curves/{name}", 8 * n) for name in curves for n in (1, 2)}
    for row in workdir.read(finished):
        group, step = row["event"], 8 * row["round"] + row["step"]
        if group in ("train", "eval", "round"):
            names = row.keys() - {"event", "round", "step", "seconds"}
            names &= set(TAGS) if group == "round" else names
            expected |= {(f"{group}/{n}", step) for n in names if row[n] is not None}
    assert shown == expected


@pytest.mark.parametrize("name", METHODS)
def test_the_losses_of_a_method_are_those_of_the_page(name, key):
    method = toy.small(name)
    network = toy.network(method, toy.Normed())
    variables = toy.start(method, toy.drawn(network, (4, 4, 1)))
    reported = set()
    for loss in method.losses:
        traced = functools.partial(loss, network)
        batch = toy.batch(key, side=4)
        _, (_, metrics) = jax.eval_shape(traced, variables, batch, key, jnp.float32(0))
        reported |= metrics.keys()
    assert reported == _parts(name)


def test_the_page_names_no_other_method():
    _, table = _tables("Event train")
    methods = {name for cells in table for name in cells[1].split(", ")}
    assert methods == set(METHODS)
