"""Classes of two files of vectors: matched by name, and never by a guessed order."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.configuration import build_data
from dact_jax.configuration.domains import reading
from tests import toy


def _domains(folder, **files):
    toy.vector_config(folder)
    for name, arrays in files.items():
        features = np.random.default_rng(0).normal(size=(60, 6)) + (name == "target")
        np.savez(folder / f"{name}.npz", features=features, **arrays)
    return reading.domains(toy.vector_config(folder))


NUMBERS = np.array([1, 2, 10])
NATURAL, BY_TEXT = np.array(["1", "2", "10"]), np.array(["1", "10", "2"])


def test_the_same_names_in_another_order_are_the_same_classes(tmp_path):
    rows = np.arange(60) % 3
    _domains(
        tmp_path,
        source={"label": rows, "classes": NATURAL},
        target={"label": NATURAL[rows]},  # read in the order of text
    )
    task = build_data.read(toy.vector_config(tmp_path))[0]
    assert task.class_names == tuple(NATURAL)
    numbers = [int(path) for path in task.target.id]
    assert task.target.train.label.tolist() == [row % 3 for row in numbers]


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("named", [NATURAL, BY_TEXT], ids=["natural", "text"])
def test_bare_integers_beside_names_are_refused(tmp_path, side, named):
    """Class 1 of integers may be "2" or "10": who wrote them knows the order."""
    rows = np.arange(60) % 3
    other = {"source": "target", "target": "source"}[side]
    for label in (rows, NUMBERS[rows]):
        for names in ({"label": rows, "classes": named}, {"label": named[rows]}):
            with pytest.raises(errors.InputError) as caught:
                _domains(tmp_path, **{side: {"label": label}, other: names})
            said = str(caught.value)
            assert f"{side} {side} has bare integers as labels" in said
            assert f"{side}.npz with the array classes" in said


def test_integers_of_both_and_labels_of_one_are_let_through(tmp_path):
    rows = np.arange(60) % 3
    source, target = _domains(tmp_path, source={"label": rows}, target={"label": rows})
    assert source.class_names == target.class_names == ("0", "1", "2")
    named = {"label": rows, "classes": NATURAL}
    unlabelled = np.full(60, -1)
    for arrays in ({}, {"label": unlabelled}):
        _, target = _domains(tmp_path, source=named, target=arrays)
        assert target.class_names == ()
