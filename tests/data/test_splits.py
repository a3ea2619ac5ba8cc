"""Splits: the sizes in the papers, alignment of classes, and errors."""

import os
import re

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.data import splits
from dact_jax.data.readers import files
from dact_jax.types import UNLABELED, Dataset


def dataset(name, label, class_names=("a", "b", "c"), split=None, image=None):
    label = np.asarray(label, np.int32)
    n = len(label)
    if image is None:
        image = np.zeros((n, 1, 1, 1), np.uint8)
        image[:, 0, 0, 0] = np.arange(n) % 256
    id = np.array([f"{name}/{i}" for i in range(n)])
    return Dataset(name, image, label, id, split, tuple(class_names))


def classes(count):
    return tuple(f"class{k:03d}" for k in range(count))


SOURCE = dataset("s", [0, 1, 2])


@pytest.mark.parametrize(
    ("n", "num_classes", "labelled", "unlabeled"),
    [
        (2817, 31, 200, 1585),  # Amazon
        (24582, 126, 378, 15632),  # Sketch
        (31502, 126, 378, 20246),  # Painting
        (18703, 126, 378, 11713),  # Clipart
    ],
)
def test_the_sizes_of_table_6(n, num_classes, labelled, unlabeled):
    names = classes(num_classes)
    source = dataset("s", np.arange(num_classes), names)
    target = dataset("t", np.arange(n) % num_classes, names)
    task = splits.make_task(source, target, seed=0)
    assert len(task.target.val.label) == 3 * num_classes
    assert len(task.target.test.label) == n // 3
    assert len(task.target.train.label) - labelled == unlabeled


def test_mnist_keeps_its_test_part():
    label = np.arange(70000) % 10
    split = np.repeat(["train", "test"], [60000, 10000])
    source = dataset("s", range(10), "0123456789")
    target = dataset("t", label, "0123456789", split)
    task = splits.make_task(source, target, seed=0, val_per_class=12)
    assert len(task.target.test.label) == 10000
    assert len(task.target.train.label) - 50 == 59830
    assert all(int(id.split("/")[1]) < 60000 for id in task.target.id)


def test_parts_are_disjoint_and_rows_stay_together():
    target = dataset("t", np.arange(30) % 3)
    task = splits.make_task(SOURCE, target, seed=1)
    parts = [task.target.train, task.target.val, task.target.test]
    rows = np.concatenate([part.image[:, 0, 0, 0] for part in parts])
    np.testing.assert_array_equal(np.sort(rows), np.arange(30))
    for part in parts:
        np.testing.assert_array_equal(part.label, part.image[:, 0, 0, 0] % 3)
    np.testing.assert_array_equal(np.bincount(task.target.val.label), [3, 3, 3])
    ids = [f"t/{row}" for row in task.target.train.image[:, 0, 0, 0]]
    assert task.target.id.tolist() == ids
    assert task.unlabeled is None


def test_the_seed_determines_the_split():
    target = dataset("t", np.arange(60) % 3)
    first, again, other = (
        splits.make_task(SOURCE, target, seed=s).target.id for s in (0, 0, 1)
    )
    assert first.tolist() == again.tolist() != other.tolist()
    longer = target._replace(id=target.id.astype("<U99"))
    task = splits.make_task(SOURCE, longer, seed=0)
    assert task.target.id.tolist() == first.tolist()


def test_classes_are_matched_by_name():
    target = dataset("t", np.arange(30) % 3, ("c", "a", "b"))
    task = splits.make_task(SOURCE, target, seed=0)
    assert task.class_names == ("a", "b", "c")
    row = task.target.train.image[:, 0, 0, 0]
    np.testing.assert_array_equal(task.target.train.label, (row % 3 + 2) % 3)


def test_transductive_all_tests_on_the_pool():
    target = dataset("t", np.arange(30) % 3, split=np.repeat(["train", "test"], 15))
    task = splits.make_task(SOURCE, target, seed=0, transductive=True)
    assert task.target.test is task.target.train
    assert len(task.target.train.label) == 30 - 9
    assert task.unlabeled is None


def test_transductive_test_streams_the_test_part():
    target = dataset("t", np.arange(30) % 3)
    task = splits.make_task(
        SOURCE, target, seed=0, transductive=True, transductive_set="test"
    )
    assert task.unlabeled is task.target.test
    assert len(task.unlabeled.label) == 10


def test_source_split_is_kept():
    source = dataset("s", [0, 1, 2, 0], split=np.array(["train"] * 3 + ["test"]))
    task = splits.make_task(source, dataset("t", np.arange(30) % 3), seed=0)
    assert task.source.id.tolist() == ["s/0", "s/1", "s/2"]
    assert len(task.source.test.label) == 1
    assert len(task.source.val.label) == 0


def test_given_val_is_kept():
    split = np.array([""] * 12 + ["val"] * 2)
    target = dataset("t", np.arange(14) % 3, split=split)
    task = splits.make_task(SOURCE, target, seed=0)
    assert task.target.val.image[:, 0, 0, 0].tolist() == [12, 13]
    assert len(task.target.test.label) == 4


@pytest.mark.parametrize("stratified", [True, False])
def test_images_given_to_train_are_never_held_out_for_test(stratified):
    split = np.array(["train"] * 20 + [""] * 10)
    target = dataset("t", np.arange(30) % 3, split=split)

    def test_rows(target):
        options = {"seed": 0, "val_per_class": 0, "stratified": stratified}
        task = splits.make_task(SOURCE, target, **options)
        assert len(task.target.train.label) + len(task.target.test.label) == 30
        return task.target.test.image[:, 0, 0, 0]

    rows = test_rows(target)
    assert len(rows) == 3
    assert rows.min() >= 20
    all_train = target._replace(split=np.array(["train"] * 30))
    assert len(test_rows(all_train)) == 0


@pytest.mark.parametrize("stratified", [True, False])
def test_the_fraction_that_tests(stratified):
    target = dataset("t", np.arange(30) % 3)

    def count(fraction):
        options = {"seed": 0, "val_per_class": 1, "stratified": stratified}
        task = splits.make_task(SOURCE, target, test_fraction=fraction, **options)
        assert len(task.target.train.label) == 27 - len(task.target.test.label)
        return len(task.target.test.label)

    assert [count(f) for f in (0, 0.1, 0.29, 1 / 3, 0.5)] == [0, 3, 8, 10, 15]


def test_unlabelled_images_stay_in_train():
    label = np.full(40, UNLABELED)
    label[:20] = np.arange(20) % 2  # no "c" is labelled
    task = splits.make_task(SOURCE, dataset("t", label, ("a", "b")), seed=0)
    assert (task.target.train.label == UNLABELED).sum() == 20
    assert len(task.target.test.label) == 20 // 3
    np.testing.assert_array_equal(np.bincount(task.target.val.label), [3, 3])


def test_target_without_labels():
    target = dataset("t", np.full(5, UNLABELED), ())
    task = splits.make_task(SOURCE, target, seed=0, val_per_class=0)
    assert len(task.target.train.label) == 5
    assert len(task.target.test.label) == len(task.target.val.label) == 0
    default = splits.make_task(SOURCE, target, seed=0)
    assert len(default.target.train.label) == 5  # there is nothing to validate on
    on_pool = splits.make_task(SOURCE, target, seed=0, transductive=True)
    assert on_pool.target.test is on_pool.target.train


def test_files_are_split_undecoded():
    image = files.ImageFiles(tuple(f"no/{i}.png" for i in range(30)), 8, 3)
    target = dataset("t", np.arange(30) % 3, image=image)
    task = splits.make_task(SOURCE, target, seed=0)
    names = [f"t/{path[3:-4]}" for path in task.target.train.image.paths]
    assert names == task.target.id.tolist()
    assert task.target.train.image.shape == (11, 8, 8, 3)
    assert task.target.files is None


def test_the_files_of_a_pool_go_with_its_rows():
    target = dataset("t", np.arange(30) % 3)
    target = target._replace(files=tuple(f"no/{i}.png" for i in range(30)))
    domain = splits.make_task(SOURCE, target, seed=0).target
    rows = [int(name.removeprefix("t/")) for name in domain.id.tolist()]
    assert domain.files == tuple(os.path.abspath(f"no/{row}.png") for row in rows)


def test_published_lists_are_used_exactly():
    target = dataset("t", np.arange(12) % 3)
    lists = splits.Lists(
        labelled=["t/7", "t/2"], val=["t/4"], unlabeled=["t/9", "t/4", "t/0"]
    )
    task = splits.make_task(SOURCE, target, seed=0, lists=lists)
    assert task.target.id.tolist() == ["t/0", "t/2", "t/4", "t/7", "t/9"]
    assert task.target.val.image[:, 0, 0, 0].tolist() == [4]
    assert task.target.test is task.target.train
    assert splits.find(task.target.id, lists.labelled).tolist() == [3, 1]


TARGET = dataset("t", np.arange(30) % 3)
PARTIAL = TARGET.label.copy()
PARTIAL[4] = UNLABELED


@pytest.mark.parametrize(
    ("source", "target", "options", "message"),
    [
        (SOURCE, dataset("t", [0], ("z",)), {}, "class 'z' .* t .*not .* source s"),
        (SOURCE, dataset("t", [0], ("a",)), {}, "classes .* source s .*not .* t: 'b'"),
        (
            SOURCE,
            TARGET,
            {"val_per_class": 8, "stratified": False},
            "t has 10 .*class [abc]: [34] kept for test; [67] are left, .*"
            r"data\.val_per_class=8",
        ),
        (SOURCE, TARGET, {"val_per_class": 11}, "t has 10 .*class a; 10 are left"),
        (SOURCE, TARGET, {"val_per_class": -1}, r"data\.val_per_class=-1"),
        (SOURCE, TARGET, {"test_fraction": 1.0}, r"data\.test_fraction=1\.0"),
        (SOURCE, TARGET, {"test_fraction": float("nan")}, r"data\.test_fraction=nan"),
        (
            SOURCE,
            TARGET,
            {
                "test_fraction": 0,
                "transductive": True,
                "transductive_set": "test",
            },
            r"data\.transductive_set='test' .*t, .*data\.test_fraction",
        ),
        (SOURCE, TARGET, {"transductive_set": "some"}, "transductive_set .*'some'"),
        (
            SOURCE,
            TARGET._replace(split=np.array(["tset"] * 30)),
            {},
            "t: .*split .*train, val, test.*'tset'",
        ),
        (
            SOURCE,
            TARGET._replace(label=PARTIAL, split=np.repeat(["test", "train"], 15)),
            {},
            "test .*labelled: t/4 of t",
        ),
        (
            TARGET._replace(label=PARTIAL),
            TARGET,
            {},
            "source .*labelled: t/4 of t",
        ),
        (
            SOURCE,
            TARGET._replace(label=PARTIAL),
            {"transductive": True},
            "test .*labelled: t/4 of t",
        ),
        (
            SOURCE,
            TARGET,
            {"lists": splits.Lists(["t/1"], ["t/30"], [])},
            "'t/30'.*'t/3'",
        ),
        (
            SOURCE,
            TARGET._replace(label=PARTIAL),
            {"lists": splits.Lists(["t/1"], ["t/4"], [])},
            "val .*labelled: t/4 of t",
        ),
    ],
)
def test_errors(source, target, options, message):
    with pytest.raises(errors.InputError, match=message) as caught:
        splits.make_task(source, target, **{"seed": 0, **options})
    assert not re.search(r"\n", str(caught.value))
