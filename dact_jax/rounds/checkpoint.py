"""Saving and restoring any pytree, atomically. The only module that knows orbax."""

import pathlib
import shutil
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from dact_jax import errors
from dact_jax.types import PyTree

# What orbax raises where files of a checkpoint are missing, empty or cut.
_DAMAGED = (ValueError, OSError, KeyError, TypeError)


class Store(NamedTuple):
    """Checkpoints of one run, numbered as they come."""

    save: Callable[[PyTree], None]
    restore: Callable[[PyTree], PyTree | None]
    close: Callable[[], None]


def open_store(folder: pathlib.Path, *, keep: int = 2) -> Store:
    """A store in `folder`, which is made if it is missing.

    A checkpoint counts only once it is complete on disk: a process killed while it
    saves leaves the one before it as the latest. `restore` takes the newest that can be
    read and moves newer ones to `<folder>_damaged`; it raises InputError, and touches
    nothing, if none can.

    Args:
      folder: absolute or relative path.
      keep: how many of the newest checkpoints stay.
    """
    root = pathlib.Path(folder).absolute()
    manager = ocp.CheckpointManager(
        root,
        options=ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, enable_async_checkpointing=False
        ),
    )

    def save(tree: PyTree) -> None:
        last = manager.latest_step()
        number = 1 if last is None else last + 1
        # numpy scalars and flags become arrays: orbax keeps dtype and shape of those.
        arrays = jax.tree.map(_array, tree)
        manager.save(number, args=ocp.args.StandardSave(arrays), force=True)

    def restore(template: PyTree) -> PyTree | None:
        arrays = jax.tree.map(_array, template)
        numbers = sorted(manager.all_steps(), reverse=True)
        for place, number in enumerate(numbers):
            try:
                found = manager.restore(number, args=ocp.args.StandardRestore(arrays))
            except _DAMAGED as error:
                reason = str(error).split("\n")[0]
                logging.warning("%s cannot be read: %s", root / str(number), reason)
                continue
            _set_aside(root, numbers[:place])
            manager.reload()
            # What was numpy (pools, labels, counters) comes back as numpy.
            return jax.tree.map(_like, template, found)
        if numbers:
            raise errors.InputError(
                f"no checkpoint in {root} could be read, and none was touched: go back "
                "to the versions in config.yaml, or give another --workdir."
            )
        return None

    return Store(save, restore, manager.close)


def _set_aside(root: pathlib.Path, numbers: list[int]) -> None:
    """Moves checkpoints out of the way that an older one stands in for."""
    aside = root.with_name(f"{root.name}_damaged")
    for number in numbers:
        aside.mkdir(exist_ok=True)
        shutil.rmtree(aside / str(number), ignore_errors=True)  # of an earlier time
        shutil.move(root / str(number), aside / str(number))
        logging.warning("An older checkpoint goes on; %s is now in %s.", number, aside)


def _array(leaf: object) -> jax.Array | np.ndarray:
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def _like(template: object, found: object) -> object:
    if isinstance(template, jax.Array):
        return found
    value = np.asarray(found)
    return value if isinstance(template, np.ndarray) else type(template)(value)  # type: ignore[call-arg]
