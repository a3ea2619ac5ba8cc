"""Sentences about where labels went."""

import numpy as np

from dact_jax.data import hold_out, label_counts, splits
from dact_jax.types import UNLABELED, Dataset


def dataset(name, label, names, split=None):
    label = np.asarray(label, np.int32)
    image = np.zeros((len(label), 1, 1, 1), np.uint8)
    id = np.array([f"{name}/{i}" for i in range(len(label))])
    return Dataset(name, image, label, id, split, tuple(names))


def text(target, names="abc", shots=0, **options):
    source = dataset("photo", np.arange(len(names)), names)
    task = splits.make_task(source, target, seed=0, **options)
    given = np.zeros(len(task.target.id), bool)
    if shots:
        given = hold_out.shots(task, shots, seed=0)
    return " ".join(label_counts.lines(task, given))


PARTLY = dataset("sketch", [0] * 10 + [1] * 20 + [2] * 20 + [UNLABELED] * 850, "abc")


def test_every_label_is_counted():
    assert text(PARTLY, val_per_class=0) == (
        "Source photo: 3 images to train on, all labeled, of 3 classes. "
        "Target sketch: 50 of 900 images have a label. They are: "
        "34 (a 7, b 13, c 14) in the training pool, 0 for validation, "
        "16 (a 3, b 7, c 6) for test. "
        "The other 850 are adapted to, but cannot be bought."
    )
    given = text(PARTLY, val_per_class=2, shots=1)
    assert "28 (a 5, b 11, c 12) in the training pool, of which 3 (1 a class) " in given
    assert "6 (2 a class) for validation" in given


def test_many_classes_are_counted_from_least_to_most():
    names = [f"k{k}" for k in range(9)]
    target = dataset("t", np.repeat(np.arange(9), np.arange(2, 11)), names)
    assert "54 of 54 images" in text(target, names, val_per_class=0)
    assert "36 (1 to 7 a class) in the training pool" in text(
        target, names, val_per_class=0
    )


def test_no_test_part_is_said():
    known = text(PARTLY, test_fraction=0)
    assert "0 for test. Without test images, accuracy is known of validation" in known
    assert "data.val_per_class" in known
    nowhere = text(PARTLY, test_fraction=0, val_per_class=0)
    assert "50 (a 10, b 20, c 20) in the training pool" in nowhere
    assert "accuracy is not known; data.test_fraction, " in nowhere


def test_what_a_random_third_took_is_said():
    names = [f"k{k}" for k in range(60)]
    target = dataset("t", np.arange(240) % 60, names)
    said = text(target, names, val_per_class=0, stratified=False)
    assert (
        "1 class is without an image in the training pool, since test and validation "
        "took all: k38 (4 test, 0 validation)."
    ) in said
    assert "14 classes are without a test image: k0, k3, " in said
    assert "and 2 more." in said
    assert "without" not in text(target, names, val_per_class=1)


def test_a_pool_that_tests():
    said = text(PARTLY._replace(label=np.arange(900) % 3), transductive=True)
    assert "9 (3 a class) for validation; those of the pool that are not " in said


def test_names_are_in_one_line():
    names = ["a\nb", "\udcff", "c"]
    said = text(dataset("t\x1b", np.arange(30) % 3, names), names)
    assert said.isprintable()
