"""Test and validation images of each class, and the errors that count them."""

import numpy as np
import pytest

from dact_jax import errors
from dact_jax.data import hold_out, splits
from dact_jax.types import UNLABELED, Dataset

K = 60


def dataset(name, label, num_classes=K, split=None):
    label = np.asarray(label, np.int32)
    image = np.arange(len(label), dtype=np.float32).reshape(-1, 1, 1, 1)
    id = np.array([f"{name}/{i}" for i in range(len(label))])
    names = tuple(f"class{k}" for k in range(num_classes))
    return Dataset(name, image, label, id, split, names)


SOURCE = dataset("s", np.arange(K))
RARE = dataset("t", np.arange(4 * K) % K)


def per_class(part, num_classes=K):
    known = part.label[part.label != UNLABELED]
    return np.bincount(known, minlength=num_classes)


@pytest.mark.parametrize("val", [0, 1, 2])
def test_no_class_of_four_images_is_lost(val):
    for seed in range(6):
        task = splits.make_task(SOURCE, RARE, seed=seed, val_per_class=val)
        train, test = per_class(task.target.train), per_class(task.target.test)
        assert (train >= 1).all()
        assert ((test >= 1) & (test <= 2)).all()
        assert (train + test == 4 - val).all()


def test_the_papers_third_is_drawn_as_ever():
    task = splits.make_task(SOURCE, RARE, seed=0, val_per_class=0, stratified=False)
    rng = hold_out._rng(0, "test")
    expected = np.sort(rng.permutation(np.arange(4 * K))[: 4 * K // 3])
    np.testing.assert_array_equal(task.target.test.image[:, 0, 0, 0], expected)
    assert (per_class(task.target.train) == 0).any()  # what stratified=True prevents


def test_a_class_keeps_what_is_asked_for():
    label = np.repeat([0, 1, 2, 3], [2, 4, 6, 30])
    source = dataset("s", range(4), 4)
    task = splits.make_task(
        source, dataset("t", label, 4), seed=0, val_per_class=1, leave=3
    )
    assert per_class(task.target.val, 4).tolist() == [1, 1, 1, 1]
    assert per_class(task.target.test, 4).tolist() == [0, 0, 2, 10]
    assert hold_out.shots(task, 1, seed=0).sum() == 4


def test_a_given_validation_part_needs_no_room():
    split = np.array(["val"] * 2 + [""] * 4)
    target = dataset("t", [0, 1, 0, 0, 1, 1], 2, split)
    task = splits.make_task(dataset("s", [0, 1], 2), target, seed=0, val_per_class=3)
    assert per_class(task.target.test, 2).sum() == 1


def test_shares():
    rng = np.random.default_rng(0)

    def shares(offered, fraction, most=None):
        offered = np.array(offered)
        most = offered if most is None else np.array(most)
        total = int(offered.sum() * fraction + 1e-9)
        return hold_out.shares(offered, fraction, most, total, rng).tolist()

    assert shares([30, 60, 9], 1 / 3) == [10, 20, 3]
    assert shares([10, 11, 12], 1 / 3) == [3, 4, 4]
    assert shares([2, 2, 2], 1 / 3, [1, 1, 1]).count(1) == 2
    assert shares([1, 1, 1], 1 / 3, [0, 0, 0]) == [0, 0, 0]
    assert shares([5, 5], 0.9, [4, 4]) == [4, 4]
    ties = {tuple(shares([1] * 9, 1 / 3)) for _ in range(9)}
    assert len(ties) > 1  # not always the first classes


def test_shots():
    label = np.array([0, 1, 2, 0, 1, 2, 0, UNLABELED])
    task = splits.make_task(
        dataset("s", [0, 1, 2], 3),
        dataset("t", label, 3),
        seed=0,
        test_fraction=0,
        val_per_class=0,
    )
    mask = hold_out.shots(task, 2, seed=0)
    assert mask.dtype == bool
    np.testing.assert_array_equal(np.bincount(label[mask]), [2, 2, 2])
    assert len({tuple(hold_out.shots(task, 1, seed=seed)) for seed in range(9)}) > 1
    message = r"t has 2 labelled images of class class1; 2 are left, but data\.shots_"
    with pytest.raises(errors.InputError, match=message):
        hold_out.shots(task, 3, seed=0)


def test_errors_count_as_the_user_counts():
    source = dataset("s", [0, 1], 2)
    target = dataset("t", [0] * 3 + [1] * 27, 2)
    messages = set()
    for seed in range(9):
        try:
            splits.make_task(source, target, seed=seed, stratified=False)
        except errors.InputError as error:
            messages.add(str(error))
    assert (
        "t has 3 labelled images of class class0: 1 kept for test; 2 are left, but "
        "data.val_per_class=3 needs 3: lower it, or label more images."
    ) in messages
    task = splits.make_task(source, target, seed=0, val_per_class=2)
    with pytest.raises(errors.InputError) as caught:
        hold_out.shots(task, 2, seed=0)
    assert str(caught.value) == (
        "t has 3 labelled images of class class0: 2 kept for validation; 1 is left, "
        "but data.shots_per_class=2 needs 2: lower it, or label more images."
    )
