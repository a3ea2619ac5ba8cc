"""Two domains to one task: which target images are trained on, validated, tested."""

import zlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from absl import logging

from dact_jax import errors
from dact_jax.data import files
from dact_jax.types import UNLABELED, Dataset, Domain, Examples, Task

PARTS = ("train", "val", "test")


class Lists(NamedTuple):
    """Published splits of the target, as ids of its images."""

    labelled: Sequence[str]
    val: Sequence[str]
    unlabeled: Sequence[str]


def make_task(
    source: Dataset,
    target: Dataset,
    *,
    seed: int,
    val_per_class: int = 3,
    transductive: bool = False,
    transductive_set: Literal["all", "test"] = "all",
    lists: Lists | None = None,
) -> Task:
    """Splits the target; classes get the source's order, matched by name.

    Source: all of its official train part, or all. Target: parts that its official
    split names are kept. Else the test part is a random third of the labelled images
    (rounded down), and T_v is `val_per_class` random labelled images of each class of
    the rest. Images without a label are always in train.

    Transductive: with "all" (the protocol of MME) no third is held out and
    `target.test is target.train`: evaluation is on those not yet labelled. With "test"
    `Task.unlabeled` is the test part.

    With `lists` (as MME publishes) the pool is labelled and unlabeled, T_v is val
    (there a part of unlabeled), and again `target.test is target.train`.

    Args:
      source: every image labelled.
      target: some images may be unlabelled.
      seed: of the random parts.
      val_per_class: images of each class in T_v.
      transductive: whether the unlabelled stream holds the images tested on.
      transductive_set: which images those are.
      lists: the exact split, in place of a random one.

    Raises:
      InputError: a class that only one domain has (a target with unlabelled images
        may lack labels of some); too few images of a class for T_v; an id that the
        target lacks; an unlabelled image in the source, val or test.
    """
    if transductive_set not in ("all", "test"):
        raise errors.InputError(
            f'transductive_set is "all" or "test", not {transductive_set!r}'
        )
    rows = _parts(source)
    target = _align(source, _present(source, rows["train"]), target)
    _check_labelled(source, rows["train"], "a source")
    source_domain = _domain(source, rows)
    test_on_train = lists is not None or (transductive and transductive_set == "all")
    if lists is not None:
        rows = _listed(target, lists)
    elif test_on_train:
        rows = _parts(target)
        rows["train"] = np.union1d(rows["train"], rows.pop("test"))
        rows = _hold_out_val(target, rows, val_per_class, seed)
    else:
        rows = _hold_out_test(target, _parts(target), seed)
        rows = _hold_out_val(target, rows, val_per_class, seed)
    domain = _domain(target, rows)
    if test_on_train:
        _check_labelled(target, rows["train"], "the images tested on")
        domain = domain._replace(test=domain.train)
    unlabeled = domain.test if transductive and not test_on_train else None
    return Task(source_domain, domain, source.class_names, unlabeled)


def shots(
    label: np.ndarray, per_class: int, *, seed: int, class_names: Sequence[str]
) -> np.ndarray:
    """Random images, the same number of every class: MME's labelled target.

    Args:
      label: int32[N], at most UNLABELED where there is none.
      per_class: images of each class.
      seed: of the choice.
      class_names: of the labels.

    Returns:
      bool[N].

    Raises:
      InputError: a class has fewer images.
    """
    classes = np.unique(label[label != UNLABELED])
    names = [class_names[k] for k in classes]
    chosen = _per_class(label, classes, names, per_class, _rng(seed, "shots"))
    return np.isin(np.arange(len(label)), chosen)


def find(id: np.ndarray, wanted: Sequence[str]) -> np.ndarray:
    """Rows of the wanted ids, in their order.

    Args:
      id: str[N], all different.
      wanted: n of them.

    Returns:
      int64[n].

    Raises:
      InputError: an id is not there.
    """
    row = {name: i for i, name in enumerate(id.tolist())}
    for name in wanted:
        if name not in row:
            raise errors.InputError(
                f"no image has the id {name!r}; {errors.suggestion(name, row)}"
            )
    return np.array([row[name] for name in wanted], np.int64)


def _present(data: Dataset, rows: np.ndarray) -> set[str]:
    """Names of the classes that the rows have."""
    return {data.class_names[k] for k in set(data.label[rows]) - {UNLABELED}}


def _align(source: Dataset, taught: set[str], target: Dataset) -> Dataset:
    """The target with its labels as numbers of the source's classes.

    Args:
      source: its classes are the task's.
      taught: those that its train part has.
      target: to be aligned.
    """
    number = {name: k for k, name in enumerate(source.class_names)}
    present = _present(target, np.arange(len(target.label)))
    whole = (target.label != UNLABELED).all()
    for name in source.class_names:
        if name not in taught:
            raise errors.InputError(
                f"class {name} has no image to train on in source {source.name}"
            )
    for name in target.class_names:
        if name not in number:
            raise errors.InputError(
                f"class {name} is in {target.name} but not in source {source.name}"
            )
    for name in source.class_names:
        if whole and name not in present:
            raise errors.InputError(
                f"class {name} is in source {source.name} but not in {target.name}"
            )
        if name not in present:
            logging.warning(
                "No image of %s is known to be %s: accuracies do not cover that class.",
                target.name,
                name,
            )
    to = np.array([*(number[name] for name in target.class_names), UNLABELED], np.int32)
    return target._replace(label=to[target.label], class_names=source.class_names)


def _parts(data: Dataset) -> dict[str, np.ndarray]:
    """Rows of each official part; all are train where there is no official split."""
    split = np.full(len(data.label), "train") if data.split is None else data.split
    unknown = split[~np.isin(split, PARTS)]
    if len(unknown):
        raise errors.InputError(
            f"{data.name}: a split is one of {PARTS}, not {str(unknown[0])!r}"
        )
    rows = {part: np.flatnonzero(split == part) for part in PARTS}
    _check_labelled(data, rows["val"], "a val part")
    _check_labelled(data, rows["test"], "a test part")
    return rows


def _hold_out_test(
    data: Dataset, rows: dict[str, np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """A random third of the labelled images to test, unless the split names some."""
    if len(rows["test"]):
        return rows
    known = rows["train"][data.label[rows["train"]] != UNLABELED]
    test = _rng(seed, "test").permutation(known)[: len(known) // 3]
    return {**rows, "train": np.setdiff1d(rows["train"], test), "test": np.sort(test)}


def _hold_out_val(
    data: Dataset, rows: dict[str, np.ndarray], per_class: int, seed: int
) -> dict[str, np.ndarray]:
    """per_class labelled train images of each class to val, unless there are some."""
    if len(rows["val"]) or not per_class:
        return rows
    label = data.label[rows["train"]]
    classes = np.arange(len(data.class_names))
    if (label == UNLABELED).any():  # nobody can be sure that all classes are there
        classes = np.unique(label[label != UNLABELED])
        if not len(classes):
            raise errors.InputError(
                f"{data.name} has no labelled image to validate on: "
                "label some, or set data.val_per_class=0"
            )
    names = [f"{data.class_names[k]} of {data.name}" for k in classes]
    val = _per_class(label, classes, names, per_class, _rng(seed, "val"))
    return {
        **rows,
        "train": np.delete(rows["train"], val),
        "val": rows["train"][np.sort(val)],
    }


def _per_class(
    label: np.ndarray,
    classes: np.ndarray,
    names: Sequence[str],
    per_class: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """int64[len(classes) * per_class], random rows of each class."""
    if per_class < 1:
        raise errors.InputError(f"images per class must be 1 or more, not {per_class}")
    shuffled = rng.permutation(len(label))
    chosen = []
    for k, name in zip(classes, names, strict=True):
        members = shuffled[label[shuffled] == k]
        if len(members) < per_class:
            raise errors.InputError(
                f"class {name} has {len(members)} labelled images to draw from, "
                f"but {per_class} are needed"
            )
        chosen.append(members[:per_class])
    return np.concatenate(chosen)


def _listed(data: Dataset, lists: Lists) -> dict[str, np.ndarray]:
    """Exactly the published rows."""
    labelled, val, unlabeled = (find(data.id, ids) for ids in lists)
    _check_labelled(data, val, "T_v")
    return {"train": np.union1d(labelled, unlabeled), "val": val}


def _check_labelled(data: Dataset, rows: np.ndarray, what: str) -> None:
    bare = rows[data.label[rows] == UNLABELED]
    if len(bare):
        raise errors.InputError(
            f"{what} must be labelled: {data.id[bare[0]]} of {data.name} is not"
        )


def _domain(data: Dataset, rows: dict[str, np.ndarray]) -> Domain:
    def part(name: str) -> Examples:
        chosen = rows.get(name, np.array([], np.int64))
        return Examples(files.take(data.image, chosen), data.label[chosen])

    id = data.id[rows["train"]]
    return Domain(data.name, part("train"), part("val"), part("test"), id)


def _rng(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])
