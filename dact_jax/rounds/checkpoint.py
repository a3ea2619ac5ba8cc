"""Saves and restores any pytree, atomically. The only module that imports orbax."""

import contextlib
import gc
import logging as standard_logging
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from dact_jax import errors, storage
from dact_jax.types import PyTree

# Raised by orbax where files of a checkpoint are missing, empty or truncated.
_DAMAGED = (ValueError, OSError, KeyError, TypeError)
_LAST_WORDS = 0.2  # seconds for the threads of a save that failed


class Store(NamedTuple):
    """Checkpoints of one run, numbered 1, 2, ... as they are saved."""

    save: Callable[[PyTree], None]
    restore: Callable[[PyTree], PyTree | None]
    close: Callable[[], None]


def open_store(folder: pathlib.Path, *, keep: int = 2) -> Store:
    """A store of checkpoints in `folder`, which is created if it is missing.

    A checkpoint counts only once it is complete on disk: after a process is killed
    while saving, the previous checkpoint is the latest. `restore` returns the newest
    that can be read, or None if there is none, and moves newer, damaged ones to
    `<folder>_damaged`. If there are checkpoints but none can be read, it raises
    InputError and changes nothing.

    Args:
      keep: number of newest checkpoints that are kept.
    """
    root = pathlib.Path(folder).absolute()
    with storage.naming(root):
        manager = ocp.CheckpointManager(
            root,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, create=True, enable_async_checkpointing=False
            ),
        )

    def save(tree: PyTree) -> None:
        last = manager.latest_step()
        number = 1 if last is None else last + 1
        # Python scalars become arrays, whose dtype and shape orbax keeps.
        arrays = jax.tree.map(_array, tree)
        with storage.naming(root / str(number)), _one_error():
            manager.save(number, args=ocp.args.StandardSave(arrays), force=True)

    def restore(template: PyTree) -> PyTree | None:
        arrays = jax.tree.map(_array, template)
        numbers = sorted(manager.all_steps(), reverse=True)
        for index, number in enumerate(numbers):
            try:
                tree = manager.restore(number, args=ocp.args.StandardRestore(arrays))
            except _DAMAGED as error:
                reason = str(error).split("\n")[0]
                logging.warning("%s cannot be read: %s", root / str(number), reason)
                continue
            _set_aside(root, numbers[:index])
            manager.reload()
            # NumPy leaves (pools, labels, counters) come back as NumPy.
            return jax.tree.map(_like, template, tree)
        if numbers:
            raise errors.InputError(
                f"no checkpoint in {root} can be read; none was changed. Use the "
                "library versions in config.yaml, or give another --workdir."
            )
        return None

    return Store(save, restore, manager.close)


def exists(folder: pathlib.Path) -> bool:
    """Whether the folder holds a complete checkpoint, which may still be damaged."""
    return any(path.name.isdigit() for path in folder.glob("*"))


def read(folder: pathlib.Path, template: Mapping[str, Any]) -> dict[str, Any]:
    """Some entries of the newest checkpoint that can be read; changes nothing.

    Args:
      folder: of the checkpoints.
      template: the entries wanted, nested by name, such as {"round": 0, "train":
        {"step": 0}}; leaves are numbers, or arrays of the shapes expected.

    Returns:
      The template's structure with NumPy arrays.

    Raises:
      InputError: there is no checkpoint with these entries and shapes.
    """
    template = jax.tree.map(np.asarray, template)
    as_numpy = jax.tree.map(lambda leaf: ocp.RestoreArgs(np.ndarray), template)
    arguments = ocp.args.PyTreeRestore(
        item=template, restore_args=as_numpy, partial_restore=True
    )
    root = pathlib.Path(folder).absolute()
    numbers = [int(path.name) for path in root.glob("*") if path.name.isdigit()]
    for number in sorted(numbers, reverse=True):
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            try:
                path = root / str(number) / ocp.checkpoint_manager.DEFAULT_ITEM_NAME
                tree = checkpointer.restore(path, args=arguments)
            except _DAMAGED as error:
                reason = str(error).split("\n")[0]
                logging.warning("%s cannot be read: %s", path.parent, reason)
                continue
        shapes = [jax.tree.map(np.shape, leaves) for leaves in (tree, template)]
        if shapes[0] == shapes[1]:
            return dict(tree)
    raise errors.InputError(f"{root} has no readable checkpoint of such a network.")


@contextlib.contextmanager
def _one_error() -> Iterator[None]:
    """What fails in a save is raised once; its threads say it again, in tracebacks."""
    loggers = [logging.get_absl_logger(), standard_logging.getLogger("asyncio")]
    before = [logger.disabled for logger in loggers]
    hooks = sys.excepthook, sys.unraisablehook
    sys.excepthook = sys.unraisablehook = _ignore  # of tensorstore's threads
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    except Exception:
        time.sleep(_LAST_WORDS)
        gc.collect()  # tasks that nobody awaits any more complain when they are freed
        raise
    finally:
        sys.excepthook, sys.unraisablehook = hooks
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _ignore(*error: object) -> None:
    del error


def _set_aside(root: pathlib.Path, numbers: list[int]) -> None:
    """Moves damaged checkpoints out of the way; an older one is used instead."""
    aside = root.with_name(f"{root.name}_damaged")
    for number in numbers:
        aside.mkdir(exist_ok=True)
        # An earlier restore may have left one of the same number.
        shutil.rmtree(aside / str(number), ignore_errors=True)
        shutil.move(root / str(number), aside / str(number))
        logging.warning("Checkpoint %s is damaged; it is now in %s.", number, aside)


def _array(leaf: object) -> jax.Array | np.ndarray:
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def _like(template: object, leaf: object) -> object:
    if isinstance(template, jax.Array):
        return leaf
    value = np.asarray(leaf)
    return value if isinstance(template, np.ndarray) else type(template)(value)  # type: ignore[call-arg]
