"""ConfigDict -> who gives the labels that are bought: the dataset, or a person."""

import os
import pathlib

import numpy as np

from dact_jax import plugins
from dact_jax.configuration import build_data
from dact_jax.configuration.defaults import Config
from dact_jax.queries import query
from dact_jax.run_types import Person
from dact_jax.types import UNLABELED, Domain, Task

HUMAN = "human"


def asks_person(config: Config, task: Task) -> bool:
    """Whether labels are asked of a person.

    With oracle="auto" they are where the policy buys labels and none of the target's
    training pool is known.
    """
    if config.oracle != "auto":
        return bool(config.oracle == HUMAN)
    label = np.asarray(task.target.train.label)
    unknown = len(label) > 0 and not (label != UNLABELED).any()
    return unknown and plugins.buys(config.policy)


def given(config: Config, task: Task) -> np.ndarray:
    """bool[N_t], target images whose labels are given at the start, at no cost.

    Where a person is asked, these include the labels of a pool that is labelled in
    part: the person has given them already. The labels of a pool that is labelled
    completely are not taken, since nothing would be left to ask.

    Args:
      task: with the labels that the data hold.
    """
    named = build_data.given(config, task)
    known = np.asarray(task.target.train.label) != UNLABELED
    if asks_person(config, task) and not known.all():
        return named | known
    return named


def make_person(
    config: Config, task: Task, given: np.ndarray, fingerprint: str
) -> Person | None:
    """What a person must be told about the target's images; None: nobody is asked.

    Args:
      task: with the labels that the data hold.
      given: bool[N_t], of `given`.
      fingerprint: of the target.
    """
    if not asks_person(config, task):
        return None
    target, known = task.target, np.asarray(task.target.train.label) != UNLABELED
    return Person(
        campaign=query.campaign(fingerprint, task.class_names),
        file_names=_file_names(config, target),
        files=_files(config, target),
        image_root=config.queries.image_root,
        num_hidden=int((known & ~given).sum()),
    )


def hide(task: Task, given: np.ndarray) -> Task:
    """The task without labels of the target's pool, but for those that are given."""
    target = task.target
    label = np.where(given, np.asarray(target.train.label), np.int32(UNLABELED))
    pool = target.train._replace(label=label)
    test = pool if target.test is target.train else target.test
    return task._replace(target=target._replace(train=pool, test=test))


def _file_names(config: Config, target: Domain) -> tuple[str, ...]:
    """Paths below the folder of the target, with slashes; else the ids."""
    folder = config.data.target
    if target.files is None or not os.path.isdir(folder):
        return tuple(target.id.tolist())
    return tuple(
        pathlib.PurePath(os.path.relpath(file, folder)).as_posix()
        for file in target.files
    )


def _files(config: Config, target: Domain) -> tuple[str, ...]:
    """Absolute paths; "" for a vector whose image is unknown."""
    if target.files is not None:
        return target.files
    root = config.queries.image_root
    if not root:
        return ("",) * len(target.id)
    places = (os.path.abspath(os.path.join(root, id)) for id in target.id.tolist())
    return tuple(place if os.path.isfile(place) else "" for place in places)
