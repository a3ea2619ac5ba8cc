"""Draws labelled target images for test, validation and the start, class by class."""

import zlib
from collections.abc import Sequence

import numpy as np

from dact_jax import errors
from dact_jax.types import UNLABELED, Dataset, Task

Rows = dict[str, np.ndarray]  # "train", "val" or "test" -> int64[n]


def test(
    data: Dataset,
    rows: Rows,
    *,
    fraction: float,
    stratified: bool,
    leave: int,
    seed: int,
) -> Rows:
    """Moves a fraction (rounded down) of the labelled images to test if it is empty.

    Images whose split is written as "train" stay.

    Args:
      fraction: in [0, 1).
      stratified: whether each class gives its share, rounded up or down; False: the
        images are drawn without regard to class.
      leave: if stratified, labelled images of each class that stay in train, as far as
        there are any.
    """
    if len(rows["test"]) or not fraction:
        return rows
    labelled = rows["train"][data.label[rows["train"]] != UNLABELED]
    free = labelled
    if data.split is not None:
        free = labelled[data.split[labelled] == ""]
    total = _share(len(free), fraction)
    rng = _rng(seed, "test")
    shuffled = rng.permutation(free)
    if stratified:
        size = len(data.class_names)
        offered = np.bincount(data.label[free], minlength=size)
        present = np.bincount(data.label[labelled], minlength=size)
        most = np.clip(present - leave, 0, offered)
        counts = shares(offered, fraction, most, total, rng)
        drawn = _first_of_each(data.label[shuffled], counts)
        taken = shuffled[drawn]
    else:
        taken = shuffled[:total]
    return {
        **rows,
        "train": np.setdiff1d(rows["train"], taken),
        "test": np.sort(taken),
    }


def shares(
    offered: np.ndarray,
    fraction: float,
    most: np.ndarray,
    total: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Images that each class gives, int64[K]: its share, rounded down or up.

    The largest remainders are rounded up until the sum is `total`. Of equal ones those
    of classes with more images come first, then a random one.

    Args:
      offered: int64[K], images of each class.
      most: int64[K], the most that each may give.
    """
    share = offered * fraction
    counts = np.minimum(np.floor(share + 1e-9).astype(np.int64), most)
    remainder = np.where(counts < most, share - counts, 0)
    chance = rng.permutation(len(offered))
    by_remainder = np.lexsort((chance, -offered, -np.round(remainder, 9)))
    more = by_remainder[: max(total - counts.sum(), 0)]
    counts[more[remainder[more] > 1e-9]] += 1
    return counts


def val(data: Dataset, rows: Rows, per_class: int, seed: int) -> Rows:
    """Moves per_class labelled images of each class to val if val is empty.

    Without a label there is nothing to validate on, and val stays empty.

    Raises:
      InputError: a class has too few images.
    """
    if len(rows["val"]) or not per_class:
        return rows
    label = data.label[rows["train"]]
    classes = np.unique(data.label[data.label != UNLABELED])
    if (label == UNLABELED).any():  # the labels may not cover all classes
        classes = np.unique(label[label != UNLABELED])
    in_test = data.label[rows["test"]] if "test" in rows else label[:0]
    _check_enough(
        data.name,
        data.class_names,
        classes,
        left=label,
        held={"test": in_test},
        need=("data.val_per_class", per_class),
    )
    drawn = _draw(label, classes, per_class, _rng(seed, "val"))
    return {
        **rows,
        "train": np.delete(rows["train"], drawn),
        "val": rows["train"][np.sort(drawn)],
    }


def shots(task: Task, per_class: int, *, seed: int) -> np.ndarray:
    """Draws target images, as many of every class: MME's labelled target.

    Returns:
      bool[N_t], True for drawn rows of the target pool.

    Raises:
      InputError: a class has fewer images in the pool.
    """
    target = task.target
    label = np.asarray(target.train.label)
    classes = np.unique(label[label != UNLABELED])
    held = {"validation": np.asarray(target.val.label)}
    if target.test is not target.train:
        held = {"test": np.asarray(target.test.label), **held}
    _check_enough(
        target.name,
        task.class_names,
        classes,
        left=label,
        held=held,
        need=("data.shots_per_class", per_class),
    )
    drawn = _draw(label, classes, per_class, _rng(seed, "shots"))
    return np.isin(np.arange(len(label)), drawn)


def _check_enough(
    domain: str,
    class_names: Sequence[str],
    classes: np.ndarray,
    *,
    left: np.ndarray,
    held: dict[str, np.ndarray],
    need: tuple[str, int],
) -> None:
    """Raises InputError if fewer images of a class are left than a field asks for.

    Args:
      left: int32[N], labels of the images to draw from.
      held: part -> labels of its images, which are not drawn.
      need: the field and its value.
    """
    field, least = need
    for k in classes:
        count = int((left == k).sum())
        if count >= least:
            continue
        parts = {part: int((label == k).sum()) for part, label in held.items()}
        kept = ", ".join(f"{n} kept for {part}" for part, n in parts.items() if n)
        images = count + sum(parts.values())
        left_over = "1 is left" if count == 1 else f"{count} are left"
        raise errors.InputError(
            f"{domain} has {images} labelled images of class {class_names[k]}"
            f"{kept and f': {kept}'}; {left_over}, but {field}={least} needs {least}: "
            "lower it, or label more images."
        )


def _draw(
    label: np.ndarray, classes: np.ndarray, per_class: int, rng: np.random.Generator
) -> np.ndarray:
    """int64[len(classes) * per_class], random rows of each class."""
    shuffled = rng.permutation(len(label))
    return np.concatenate(
        [shuffled[label[shuffled] == k][:per_class] for k in classes]
        or [np.array([], np.int64)]
    )


def _first_of_each(label: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Positions of the first counts[k] elements of each class k, int64[sum]."""
    first = [np.flatnonzero(label == k)[:count] for k, count in enumerate(counts)]
    return np.concatenate(first or [np.array([], np.int64)])


def _share(count: int, fraction: float) -> int:
    """The fraction of count, rounded down; 1/3 of 3 is 1 whatever its last bit."""
    return int(np.floor(count * fraction + 1e-9))


def _rng(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])
