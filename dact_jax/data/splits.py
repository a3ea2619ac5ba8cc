"""Makes a task of two domains: splits the target into train, val and test."""

import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from dact_jax import errors
from dact_jax.data import hold_out
from dact_jax.data.classes import differences
from dact_jax.data.readers import files
from dact_jax.types import UNLABELED, Dataset, Domain, Examples, Task

PARTS = ("train", "val", "test")
_CHOICE = "data.classes chooses the classes to use"
_OTHER_WAYS = f"images without a label go into a folder named unlabeled, and {_CHOICE}"


class Lists(NamedTuple):
    """A published split of the target, as ids of its images."""

    labelled: Sequence[str]  # T_l
    val: Sequence[str]  # T_v
    unlabeled: Sequence[str]  # T_u


def make_task(
    source: Dataset,
    target: Dataset,
    *,
    seed: int,
    test_fraction: float = 1 / 3,
    stratified: bool = True,
    val_per_class: int = 3,
    leave: int = 1,
    transductive: bool = False,
    transductive_set: Literal["all", "test"] = "all",
    lists: Lists | None = None,
    one_sided: bool = False,
) -> Task:
    """Splits the target; matches its classes to the source's by name.

    The source's train part is its official one, or all images. The target keeps the
    parts of its official split. Without an official test part, test is a fraction
    (rounded down) of the labelled images that the split does not name "train". Without
    an official val part, T_v is `val_per_class` random labelled images of each class
    from the remaining ones. Unlabelled images are always in train.

    With `transductive` and transductive_set="all" (the protocol of MME) there is no
    separate test part: `target.test is target.train`, and evaluation is on the images
    not yet labelled. With transductive_set="test", `Task.unlabeled` is the test part.

    With `lists` (as MME publishes them) train is labelled and unlabeled, T_v is val
    (in MME a part of unlabeled), and again `target.test is target.train`.

    Args:
      source: every train image must be labelled.
      target: may have unlabelled images.
      test_fraction: share of the labelled images in test; 0: no test part.
      stratified: whether each class gives its share to test, but never its last
        images; False: test is drawn without regard to class, as in the papers.
      val_per_class: images of each class in T_v; 0: no T_v.
      leave: if stratified, labelled images of each class that test leaves to train,
        besides T_v.
      transductive: whether the unlabelled stream holds the test images.
      transductive_set: which test images: "all" of the target, or its "test" part.
      lists: the exact split, in place of a random one.
      one_sided: whether a fully labelled target may lack classes of the source.

    Raises:
      InputError: only one domain has a class (a target with unlabelled images may
        lack labels of some classes), a class has too few images for T_v, an id is not
        in the target, or an image in the source's train part, val or test is
        unlabelled.
    """
    _check_options(test_fraction, val_per_class, transductive_set)
    rows = _parts(source)
    target = _align(source, _present(source, rows["train"]), target, one_sided)
    _check_labelled(source, rows["train"], "source images")
    source_domain = _domain(source, rows)
    test_on_train = lists is not None or (transductive and transductive_set == "all")
    if lists is not None:
        rows = _listed(target, lists)
    elif test_on_train:
        rows = _parts(target)
        rows["train"] = np.union1d(rows["train"], rows.pop("test"))
        rows = hold_out.val(target, rows, val_per_class, seed)
    else:
        rows = _parts(target)
        rows = hold_out.test(
            target,
            rows,
            fraction=test_fraction,
            stratified=stratified,
            leave=leave + (0 if len(rows["val"]) else val_per_class),
            seed=seed,
        )
        rows = hold_out.val(target, rows, val_per_class, seed)
    domain = _domain(target, rows)
    if test_on_train:
        if (target.label != UNLABELED).any():  # else there is nothing to test on
            _check_labelled(target, rows["train"], "test images")
        domain = domain._replace(
            test=domain.train, test_id=domain.id, test_files=domain.files
        )
    unlabeled = domain.test if transductive and not test_on_train else None
    if unlabeled is not None and not len(unlabeled.label):
        raise errors.InputError(
            f"data.transductive_set='test' adapts to the test images of {target.name}, "
            "and there are none: set data.test_fraction, such as 0.3, or "
            "data.transductive_set='all'."
        )
    return Task(source_domain, domain, source.class_names, unlabeled)


def _check_options(
    test_fraction: float, val_per_class: int, transductive_set: str
) -> None:
    if transductive_set not in ("all", "test"):
        raise errors.InputError(
            f'data.transductive_set must be "all" or "test", not {transductive_set!r}.'
        )
    if not 0 <= test_fraction < 1:
        raise errors.InputError(
            f"data.test_fraction={test_fraction} must be at least 0 and less than 1."
        )
    if val_per_class < 0:
        raise errors.InputError(
            f"data.val_per_class={val_per_class} must be 0 or more."
        )


def find(id: np.ndarray, wanted: Sequence[str]) -> np.ndarray:
    """Rows of the wanted ids, int64[n], in the order of `wanted`.

    Args:
      id: str[N], unique.

    Raises:
      InputError: a wanted id is not in `id`.
    """
    row = {name: i for i, name in enumerate(id.tolist())}
    for name in wanted:
        if name not in row:
            raise errors.InputError(
                f"no image has the id {name!r}; {errors.suggestion(name, row)}"
            )
    return np.array([row[name] for name in wanted], np.int64)


def _present(data: Dataset, rows: np.ndarray) -> set[str]:
    """Names of the classes that occur among the labels of the rows."""
    return {data.class_names[k] for k in set(data.label[rows]) - {UNLABELED}}


def unlabelled_classes(source: Dataset, target: Dataset) -> list[str]:
    """Names of the source's classes that no label of the target has."""
    present = _present(target, np.arange(len(target.label)))
    return [name for name in source.class_names if name not in present]


def _align(
    source: Dataset, train_classes: set[str], target: Dataset, one_sided: bool
) -> Dataset:
    """Renumbers the target's labels to the source's classes, matched by name.

    Args:
      train_classes: names of the classes in the source's train part.
    """
    number = {name: k for k, name in enumerate(source.class_names)}
    all_labelled = (target.label != UNLABELED).all()
    for name in source.class_names:
        if name not in train_classes:
            reason = differences.lost(name, source)
            raise errors.InputError(
                f"class {name!r} has no image in the train part of source "
                f"{source.name}{reason and f': {reason}'}."
            )
    here, there = target.name, f"source {source.name}"
    if unknown := [name for name in target.class_names if name not in number]:
        raise errors.InputError(
            differences.only_in(unknown, here, there, source, way=_OTHER_WAYS)
        )
    missing = unlabelled_classes(source, target)
    if missing and all_labelled and not one_sided:
        raise errors.InputError(
            differences.only_in(missing, there, here, target, way=_CHOICE)
        )
    numbers = [*(number[name] for name in target.class_names), UNLABELED]
    label = np.array(numbers, np.int32)[target.label]  # UNLABELED is the index -1
    return target._replace(label=label, class_names=source.class_names)


def _parts(data: Dataset) -> dict[str, np.ndarray]:
    """Rows of each official part; all rows are train without an official split."""
    split = np.full(len(data.label), "") if data.split is None else data.split
    split = np.where(split == "", "train", split)
    unknown = split[~np.isin(split, PARTS)]
    if len(unknown):
        raise errors.InputError(
            f"{data.name}: the split of an image must be one of {', '.join(PARTS)}, "
            f"not {str(unknown[0])!r}."
        )
    rows = {part: np.flatnonzero(split == part) for part in PARTS}
    _check_labelled(data, rows["val"], "val images")
    _check_labelled(data, rows["test"], "test images")
    return rows


def _listed(data: Dataset, lists: Lists) -> dict[str, np.ndarray]:
    """Rows of the published split."""
    labelled, val, unlabeled = (find(data.id, ids) for ids in lists)
    _check_labelled(data, val, "val images")
    return {"train": np.union1d(labelled, unlabeled), "val": val}


def _check_labelled(data: Dataset, rows: np.ndarray, what: str) -> None:
    unlabelled = rows[data.label[rows] == UNLABELED]
    if len(unlabelled):
        raise errors.InputError(
            f"{what} must be labelled: {data.id[unlabelled[0]]} of {data.name} is not."
        )


def _domain(data: Dataset, rows: dict[str, np.ndarray]) -> Domain:
    def part(name: str) -> Examples:
        part_rows = rows.get(name, np.array([], np.int64))
        return Examples(files.take(data.image, part_rows), data.label[part_rows])

    def paths(name: str) -> tuple[str, ...] | None:
        if data.files is None:
            return None
        return tuple(os.path.abspath(data.files[row]) for row in rows.get(name, ()))

    return Domain(
        name=data.name,
        train=part("train"),
        val=part("val"),
        test=part("test"),
        id=data.id[rows["train"]],
        left_out=data.left_out,
        files=paths("train"),
        test_id=data.id[rows.get("test", np.array([], np.int64))],
        test_files=paths("test"),
    )
