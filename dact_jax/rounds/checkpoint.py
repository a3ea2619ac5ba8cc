"""The checkpoints of a run: saved atomically with digests, checked before use."""

import os
import pathlib
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from absl import logging

from dact_jax import errors, storage
from dact_jax.rounds.formats import manifest, trees
from dact_jax.types import PyTree

T = TypeVar("T")
_ATTEMPTS = 3  # to read, while a run replaces its checkpoints


class Store(NamedTuple):
    """Checkpoints of one run, numbered 1, 2, ... as they are saved."""

    save: Callable[[PyTree], None]
    restore: Callable[[PyTree], PyTree | None]


def _not_here(tree: PyTree) -> PyTree:
    raise RuntimeError("process 0 alone has the checkpoints")


ELSEWHERE = Store(_not_here, _not_here)  # of the other processes of a run


class _Unusable(NamedTuple):
    """A checkpoint that cannot be used, and a clause that says why."""

    path: pathlib.Path
    reason: str


def open_store(
    folder: pathlib.Path, *, keep: int = 2, record: Sequence[pathlib.Path] = ()
) -> Store:
    """A store of checkpoints in `folder`, which is created if it is missing.

    A checkpoint counts only once it is complete on disk: after a process is killed
    while saving, the previous checkpoint is the latest. `restore` returns the newest
    whose files are those that were saved, or None if there is none, and moves newer
    ones to `<folder>_damaged`. If there are checkpoints but none can be used, it raises
    InputError and changes nothing.

    Args:
      keep: number of newest checkpoints that are kept.
      record: files whose length and digest each checkpoint notes.
    """
    root = pathlib.Path(folder).absolute()
    root.mkdir(parents=True, exist_ok=True)

    def save(tree: PyTree) -> None:
        numbers = manifest.numbers(root)
        path = root / str(numbers[0] + 1 if numbers else 1)
        with storage.naming(path):
            _remove_drafts(root)
            draft = storage.temporary(path)
            try:
                trees.write(draft, tree)
                manifest.seal(draft, record)
                os.rename(draft, path)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
            storage.flush_names(root)
            for number in numbers[keep - 1 :]:
                _remove(root / str(number))

    def restore(template: PyTree) -> PyTree | None:
        unusable: list[_Unusable] = []
        for number in manifest.numbers(root):
            path = root / str(number)
            tree = _load(path, lambda path: _read(path, template))
            if not isinstance(tree, _Unusable):
                _set_aside(unusable, path)
                return tree
            unusable.append(tree)
        if unusable:
            raise errors.InputError(_none_left(root, unusable))
        return None

    return Store(save, restore)


def exists(folder: pathlib.Path) -> bool:
    """Whether the folder holds a complete checkpoint, which may still be damaged."""
    return bool(manifest.numbers(folder))


def read(folder: pathlib.Path, template: Mapping[str, Any]) -> dict[str, Any]:
    """Some entries of the newest checkpoint that can be used; changes nothing.

    Args:
      folder: of the checkpoints.
      template: the entries wanted, nested by name, such as {"round": 0, "train":
        {"step": 0}}; leaves are numbers, or arrays of the shapes expected.

    Returns:
      The template's structure with NumPy arrays.

    Raises:
      InputError: there is no checkpoint with these entries and shapes.
    """
    found = search(folder, template, dict)
    assert found is not None
    return found


def search(
    folder: pathlib.Path,
    template: Mapping[str, Any],
    take: Callable[[dict[str, Any]], T | None],
    *,
    newer: Collection[str] = (),
) -> T | None:
    """What `take` makes of the newest checkpoint that it takes; changes nothing.

    Args:
      template: as for `read`; so are the entries that `take` gets.
      take: returns None for a checkpoint that it does not take.
      newer: top-level entries that checkpoints of an earlier version may lack; they
        are as in the template then.

    Returns:
      None if there are checkpoints that can be used and `take` takes none of them.

    Raises:
      InputError: there is no checkpoint with these entries and shapes.
    """
    root = pathlib.Path(folder).absolute()
    template = jax.tree.map(np.asarray, template)
    unusable: list[_Unusable] = []
    for _ in range(_ATTEMPTS):
        numbers, unusable, any_usable = manifest.numbers(root), [], False
        for number in numbers:
            path = root / str(number)
            tree = _entries(path, template, newer)
            if isinstance(tree, _Unusable):
                unusable.append(tree)
                continue
            if not any_usable:
                _warn(unusable, path)
            any_usable = True
            taken = take(tree)
            if taken is not None:
                return taken
        if numbers == manifest.numbers(root):
            if any_usable:
                return None
            break
    raise errors.InputError(
        f"{root} has no readable checkpoint of such a network"
        f"{': ' if unusable else ''}{_reasons(unusable)}."
    )


def _entries(
    path: pathlib.Path, template: Mapping[str, Any], newer: Collection[str]
) -> dict[str, Any] | _Unusable:
    """The template's entries of one checkpoint, or why it cannot be used."""
    try:
        tree = _load(path, lambda path: trees.read_part(path, template, newer=newer))
    except (errors.InputError, OSError):
        if path.exists():
            raise
        tree = _Unusable(path, "it was removed meanwhile")
    if isinstance(tree, _Unusable):
        return tree
    if jax.tree.map(np.shape, tree) != jax.tree.map(np.shape, template):
        return _Unusable(path, "it is of another network")
    return dict(tree)


def _read(path: pathlib.Path, template: PyTree) -> PyTree:
    if manifest.is_older(path):
        return trees.read_older(path, template)
    return trees.read(path, template)


def _load(
    path: pathlib.Path, load: Callable[[pathlib.Path], PyTree]
) -> PyTree | _Unusable:
    """What a checkpoint holds, or why it cannot be used.

    Raises:
      InputError: it is undamaged, but not of this network or these libraries.
    """
    reason = manifest.damage(path)
    if reason is not None:
        return _Unusable(path, reason)
    older = manifest.is_older(path)
    if older:
        logging.warning(
            "%s was saved by an earlier version, without digests: damage in it may go "
            "unnoticed.",
            path,
        )
    try:
        return load(path)
    except (*trees.UNREADABLE, OSError) as error:
        if older:
            return _Unusable(path, "it is damaged, or of another network")
        if isinstance(error, OSError):
            raise
        raise errors.InputError(
            f"{path} is what was saved, but not by such a run: use the library "
            "versions in config.yaml, or give another --workdir."
        ) from error


def _none_left(root: pathlib.Path, unusable: Sequence[_Unusable]) -> str:
    return (
        f"no checkpoint in {root} can be read: {_reasons(unusable)}; none was changed. "
        "Use the library versions in config.yaml, or give another --workdir."
    )


def _reasons(unusable: Sequence[_Unusable]) -> str:
    return "; ".join(f"{path.name}: {reason}" for path, reason in unusable)


def _warn(unusable: Sequence[_Unusable], used: pathlib.Path) -> None:
    for path, reason in unusable:
        logging.warning("%s is damaged (%s): %s is used.", path, reason, used.name)


def _set_aside(unusable: Sequence[_Unusable], used: pathlib.Path) -> None:
    """Moves damaged checkpoints out of the way; an older one is used instead."""
    aside = used.parent.with_name(f"{used.parent.name}_damaged")
    for path, reason in unusable:
        aside.mkdir(exist_ok=True)
        place, count = aside / path.name, 1
        while place.exists():  # an earlier restore left one of the same number
            count += 1
            place = aside / f"{path.name}_{count}"
        os.rename(path, place)
        logging.warning(
            "%s is damaged (%s): it is now %s, and checkpoint %s is used.",
            path,
            reason,
            place,
            used.name,
        )


def _remove(path: pathlib.Path) -> None:
    """Removes a checkpoint; a process killed meanwhile leaves a draft."""
    draft = storage.temporary(path)
    os.rename(path, draft)
    _delete(draft)


def _remove_drafts(root: pathlib.Path) -> None:
    """Removes what killed processes left, those of earlier versions too."""
    for path in root.iterdir():
        name, dot, rest = path.name.partition(".")
        if name.isdigit() and f"{dot}{rest}".startswith((".tmp", ".orbax-checkpoint")):
            _delete(path)


def _delete(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
