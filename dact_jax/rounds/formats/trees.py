"""A pytree in a folder of its own. The only module that imports orbax."""

import contextlib
import gc
import logging as standard_logging
import os
import pathlib
import re
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from dact_jax import errors, storage
from dact_jax.types import PyTree

# Raised by orbax where files are missing, or other ones than it needs.
UNREADABLE = (ValueError, KeyError, TypeError)

_ITEM = "default"  # the folder within, as orbax's manager of checkpoints calls it
_ONE_AT_A_TIME = threading.RLock()  # two threads would restore each other's silence
_LAST_WORDS = 0.2  # seconds for the threads of a save that failed
_UNAWAITED = "coroutine '.*' was never awaited"  # writes that a failed save gave up
# Paths that orbax takes as they are. It looks for files by patterns, so "[1]" finds
# nothing, and it takes a backslash for a slash.
_PLAIN = re.compile(r"[\w ./+,=@~-]+")

_LONGEST = 3800  # bytes of a path; files in it add 200, and systems allow 4096


def write(folder: pathlib.Path, tree: PyTree) -> None:
    """Writes a tree into a new folder.

    Args:
      tree: leaves are arrays or Python scalars.

    Raises:
      OSError: the disk is full, or fails.
    """
    # Python scalars become arrays, whose dtype and shape orbax keeps.
    arguments = ocp.args.StandardSave(jax.tree.map(_array, tree))
    with storage.naming(folder), _one_error():
        folder.mkdir()
        with (
            _address(folder) as place,
            _checkpointer(ocp.StandardCheckpointHandler) as checkpointer,
        ):
            checkpointer.save(place / _ITEM, args=arguments)


def read(folder: pathlib.Path, template: PyTree) -> PyTree:
    """The tree in a folder; leaves are of the template's types, shapes and devices.

    Raises:
      UNREADABLE: files are missing, or hold another tree.
    """
    arguments = ocp.args.StandardRestore(jax.tree.map(_array, template))
    with (
        _one_error(),
        _address(folder) as place,
        _checkpointer(ocp.StandardCheckpointHandler) as checkpointer,
    ):
        tree = checkpointer.restore(place / _ITEM, args=arguments)
    # NumPy leaves (pools, labels, counters) come back as NumPy.
    return jax.tree.map(_like, template, tree)


def read_older(folder: pathlib.Path, template: NamedTuple) -> PyTree:
    """The tree that an earlier version wrote, with the template's newer fields.

    Raises:
      UNREADABLE: files are missing, or hold another tree.
    """
    arrays = jax.tree.map(_array, template)
    with (
        _one_error(),
        _address(folder) as place,
        _checkpointer(ocp.PyTreeCheckpointHandler) as checkpointer,
    ):
        metadata = checkpointer.metadata(place / _ITEM).item_metadata
        if metadata is None:
            raise ValueError(f"{folder} holds no tree")
        arguments = ocp.args.PyTreeRestore(
            item=arrays,
            restore_args=ocp.checkpoint_utils.construct_restore_args(arrays),
            transforms={
                field: ocp.Transform(use_fallback=True)
                for field in template._fields
                if field not in metadata.tree
            },
        )
        tree = checkpointer.restore(place / _ITEM, args=arguments)
    return jax.tree.map(_like, template, tree)


def read_part(
    folder: pathlib.Path, template: Mapping[str, Any], *, newer: Collection[str] = ()
) -> dict[str, Any]:
    """Some entries of the tree in a folder, as NumPy arrays.

    Args:
      template: the entries wanted, nested by name; leaves are NumPy arrays of the
        dtypes expected. Their shapes may differ.
      newer: entries that the tree may lack; they are as in the template then.

    Raises:
      UNREADABLE: files or entries are missing.
    """
    with (
        _one_error(),
        _address(folder) as place,
        _checkpointer(ocp.PyTreeCheckpointHandler) as checkpointer,
    ):
        wanted = dict(template)
        if newer:
            there = checkpointer.metadata(place / _ITEM).item_metadata
            known = {} if there is None else there.tree
            wanted = {k: v for k, v in wanted.items() if k in known or k not in newer}
        as_numpy = jax.tree.map(lambda leaf: ocp.RestoreArgs(np.ndarray), wanted)
        arguments = ocp.args.PyTreeRestore(
            item=wanted, restore_args=as_numpy, partial_restore=True
        )
        return {**template, **checkpointer.restore(place / _ITEM, args=arguments)}


def check_path(folder: pathlib.Path) -> None:
    """Checks that trees can be written below a path; writes nothing there.

    Raises:
      InputError: the path is too long, or has unusual characters and no link can stand
        for it.
    """
    size = len(os.fsencode(folder.absolute()))
    if size > _LONGEST:
        raise errors.InputError(
            f"the path of {folder.name[:40]!r} has {size} bytes: give one of at most "
            f"{_LONGEST}."
        )
    with _address(folder):
        pass


@contextlib.contextmanager
def _address(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path to the folder that orbax takes as it is: a link, if need be."""
    if _PLAIN.fullmatch(str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="dact_jax_") as place:
        link = pathlib.Path(place, "link")
        reason = f"so has the folder for temporary files, {place}"
        try:
            link.symlink_to(folder, target_is_directory=True)
            works = _PLAIN.fullmatch(str(link))
        except OSError as error:  # on Windows, links may need a privilege
            works, reason = None, f"no link can stand for it: {error.strerror}"
        if not works:
            raise errors.InputError(
                f"{str(folder)!r} has characters with which checkpoints cannot be "
                f"read again, and {reason}; use letters, digits and . _ - in its name."
            )
        yield link


@contextlib.contextmanager
def _one_error() -> Iterator[None]:
    """What fails is raised once; orbax and its threads say it again, in tracebacks."""
    with _ONE_AT_A_TIME:
        yield from _silenced()


def _silenced() -> Iterator[None]:
    loggers = [logging.get_absl_logger(), standard_logging.getLogger("asyncio")]
    before = [logger.disabled for logger in loggers]
    hooks = sys.excepthook, sys.unraisablehook
    sys.excepthook = sys.unraisablehook = _ignore  # of tensorstore's threads
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    except Exception:
        # Tasks that nobody awaits any more complain when they are freed, now or later.
        standard_logging.getLogger("asyncio").addFilter(_is_news)
        time.sleep(_LAST_WORDS)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _UNAWAITED, RuntimeWarning)
            gc.collect()
        raise
    finally:
        sys.excepthook, sys.unraisablehook = hooks
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _is_news(record: standard_logging.LogRecord) -> bool:
    """False for the system's errors of tasks whose save has raised one already."""
    error = record.exc_info[1] if record.exc_info else None
    late = "was never retrieved" in record.getMessage()
    return not late or storage.system_error(error) is None


def _checkpointer(handler: Callable[..., Any]) -> ocp.Checkpointer:
    """Saves and restores in this process alone, though there may be others."""
    if jax.process_count() == 1:
        return ocp.Checkpointer(handler())
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"process_{jax.process_index()}",
    )
    return ocp.Checkpointer(
        handler(multiprocessing_options=alone), multiprocessing_options=alone
    )


def _ignore(*error: object) -> None:
    del error


def _array(leaf: object) -> jax.Array | np.ndarray:
    if isinstance(leaf, jax.Array) and jax.process_count() == 1:
        return leaf
    array = np.asarray(leaf)
    return array if array.size else np.zeros(1, array.dtype)  # orbax refuses empty ones


def _like(template: object, leaf: object) -> object:
    if isinstance(template, jax.Array):
        return leaf
    if isinstance(template, np.ndarray) and not template.size:
        return template
    value = np.asarray(leaf)
    return value if isinstance(template, np.ndarray) else type(template)(value)  # type: ignore[call-arg]
