"""`data.classes`: what becomes of the images of other classes."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.data import hold_out, splits
from dact_jax.data.classes import choice
from dact_jax.types import UNLABELED, Dataset


def domain(name, labels, class_names, split=None):
    number = np.arange(len(labels))
    return Dataset(
        name=name,
        image=number.astype(np.uint8)[:, None, None, None],
        label=np.array(labels, np.int32),
        id=np.array([f"{name}/{i}" for i in number]),
        split=None if split is None else np.array(split),
        class_names=class_names,
        files=tuple(f"/{name}/{i}" for i in number),
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("  ", ()),
        ("mug,cup", ("mug", "cup")),
        (' mug , "a, b" ', ("mug", "a, b")),
    ],
)
def test_parse(text, names):
    assert choice.parse(text) == names


@pytest.mark.parametrize("text", ["mug,", ",", "mug,cup,mug"])
def test_names_that_are_no_choice(text):
    with pytest.raises(
        errors.InputError, match=r"data\.classes='.*(empty|'mug' twice)"
    ):
        choice.parse(text)


def test_other_classes_of_the_source_are_left_out():
    data = domain("s", [0, 1, 2, 1, 0], ("a", "b", "c"))
    chosen = choice.of_source(data, ("c", "a"))
    assert chosen.class_names == ("c", "a")
    assert chosen.label.tolist() == [1, 0, 1]
    assert chosen.id.tolist() == ["s/0", "s/2", "s/4"]
    assert chosen.files == ("/s/0", "/s/2", "/s/4")
    assert chosen.image.ravel().tolist() == [0, 2, 4]
    (note,) = chosen.notes
    assert note.startswith("2 images of classes (b) that data.classes")
    assert choice.of_source(data, ("a", "b", "c")).notes == ()


def test_a_class_that_the_source_lacks():
    with pytest.raises(errors.InputError, match=r"data\.classes.*'mgu'.* s; .*'mug'"):
        choice.of_source(domain("s", [0, 1], ("mug", "cup")), ("mgu", "cup"))


def test_other_classes_of_the_target_count_as_unlabelled():
    """To leave them out of the pool would use labels that nobody has bought."""
    data = domain("t", [0, 1, 2, 2, UNLABELED], ("a", "b", "x"))
    chosen = choice.of_target(data, ("b", "a"))
    assert chosen.label.tolist() == [1, 0, UNLABELED, UNLABELED, UNLABELED]
    assert len(chosen.id) == 5
    assert "2 images of classes (x)" in chosen.notes[0]
    split = ["test", "train", "test", "train", ""]
    chosen = choice.of_target(data._replace(split=np.array(split)), ("a", "b"))
    assert chosen.id.tolist() == ["t/0", "t/1", "t/3", "t/4"]
    assert chosen.split.tolist() == ["test", "train", "train", ""]
    assert "1 of them, named val or test, are left out" in chosen.notes[0]


def test_a_class_that_only_the_source_has_is_no_error_if_asked():
    source = domain("s", [0, 1, 2], ("a", "b", "c"))
    target = domain("t", [0, 1] * 6, ("a", "b"))
    with pytest.raises(errors.InputError, match=r"'c' .*data\.classes chooses"):
        splits.make_task(source, target, seed=0)
    task = splits.make_task(source, target, seed=0, one_sided=True)
    assert task.class_names == ("a", "b", "c")
    assert np.bincount(task.target.val.label).tolist() == [3, 3]


def test_a_class_that_lost_all_to_the_test_part_is_still_an_error():
    data = domain("t", [0] * 4 + [1], ("a", "b"))
    rows = {"train": np.arange(4), "val": np.arange(0), "test": np.array([4])}
    with pytest.raises(errors.InputError, match=r"of class b: 1 kept for test"):
        hold_out.val(data, rows, 1, 0)
