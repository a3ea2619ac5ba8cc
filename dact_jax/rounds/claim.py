"""config.yaml: which run a folder belongs to."""

import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from dact_jax import errors, storage
from dact_jax.rounds import answers, lock, workdir, yaml_files

_PACKAGES = ("dact_jax", "jax", "flax", "optax", "orbax-checkpoint", "numpy")
_UNSET = "(not set)"
_OTHERS = "without_influence"  # key of the fields that may differ
_SHOWN = 3  # differing fields that an error spells out


def check(
    folder: pathlib.Path,
    config: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any] | None = None,
    flag: str = "--workdir",
) -> None:
    """Checks that a folder is new, empty, or that of a run with this config.

    Such a run must still have the rows that its newest checkpoint was saved after. This
    writes nothing and needs no data, so it can run before they are read.

    Args:
      config: resolved, nested; plain values.
      defaults: values by dotted name, of fields that config.yaml lacks because the
        version that wrote it did not have them.
      flag: the command-line flag that names the folder, for error messages.

    Raises:
      InputError: the folder belongs to another run, is not a run's, has lost rows, or
        is new and cannot be written to.
    """
    path = folder / workdir.CONFIG
    if path.exists():
        saved = _load(path, flag)
        _compare_config(
            folder, saved["config"], _plain(config), _plain(defaults or {}), flag
        )
        workdir.check(folder, flag=flag)
    elif folder.exists() and (not folder.is_dir() or _has_other_files(folder)):
        raise errors.InputError(
            f"{folder} exists and holds no {workdir.CONFIG}, so it is not the "
            f"folder of a run: give an empty or new {flag}."
        )
    check_writable(folder, flag=flag)


def check_writable(folder: pathlib.Path, *, flag: str) -> None:
    """Checks that a run could begin in a folder; one that has begun may be read only.

    Args:
      flag: the command-line flag that names the folder, for error messages.

    Raises:
      InputError: nothing may be written there.
    """
    if (folder / workdir.CONFIG).exists():
        return
    place = folder
    while not place.exists():  # it will be made, with the folders above it
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        where = "it" if place == folder else f"{place}, where it would be made"
        raise errors.InputError(
            f"{folder} cannot hold a run, since nothing may be written to {where}: "
            f"give another {flag}."
        )


def claim(
    folder: pathlib.Path,
    config: Mapping[str, Any],
    *,
    data: Mapping[str, str],
    devices: Sequence[str],
    classes: Sequence[str] = (),
    image_shape: Sequence[int] = (),
    defaults: Mapping[str, Any] | None = None,
    flag: str = "--workdir",
) -> None:
    """Makes a folder that of this run, or checks that it already is.

    A new or empty folder gets config.yaml, which holds the arguments and the versions
    of the libraries. In the folder of a run `config` and `data` must equal those
    stored; all else may differ, and what was stored first stays.

    Args:
      config: resolved, nested; plain values.
      data: what was read -> its fingerprint, such as "target" -> "sha256:...".
      devices: names, such as "cpu".
      classes: names of the classes, in the order of the network's outputs.
      image_shape: (H, W, C) of the stored images.
      defaults: as in `check`.
      flag: the command-line flag that names the folder, for error messages.

    Raises:
      InputError: the folder belongs to another run, or is not a run's.
    """
    check(folder, config, defaults=defaults, flag=flag)
    path = folder / workdir.CONFIG
    if path.exists():
        _compare_data(folder, _load(path, flag)["data"], _plain(data), flag)
        return
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "config": _plain(config),
        "data": _plain(data),
        "classes": list(map(str, classes)),
        "image_shape": list(map(int, image_shape)),
        "versions": versions(),
        "devices": list(devices),
    }
    _write(path, record)


def versions() -> dict[str, str]:
    """The versions of the libraries that a run depends on, and of Python."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {**found, "python": platform.python_version()}


def record_others(folder: pathlib.Path, others: Mapping[str, Any]) -> None:
    """Keeps the fields without influence in config.yaml, as the last start has them.

    With them the run can go on without its config. Nothing is written if they are
    there, or into a folder that may only be read.

    Args:
      folder: of a run.
      others: values by dotted name.
    """
    path = folder / workdir.CONFIG
    record = yaml_files.load(path)
    plain = _plain(others)
    if record.get(_OTHERS) != plain and os.access(folder, os.W_OK):
        _write(path, record | {_OTHERS: plain})


def _write(path: pathlib.Path, record: Mapping[str, Any]) -> None:
    text = yaml.dump(record, Dumper=_NoAliases, sort_keys=False)
    storage.write_atomic(path, text)


class Record(NamedTuple):
    """What config.yaml holds of a run that is needed to use its network."""

    config: Mapping[str, Any]  # nested, without what has no influence
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]  # (H, W, C)
    others: Mapping[str, Any]  # values of fields without influence, by dotted name
    data: Mapping[str, str]  # what was read -> its fingerprint


def read(folder: pathlib.Path) -> Record:
    """The config, classes and image shape that a run was started with.

    Raises:
      InputError: the folder is not a run's, or its config.yaml is damaged.
    """
    path = folder / workdir.CONFIG
    if not path.exists():
        raise errors.InputError(f"{folder} is not the folder of a run: no {path.name}.")
    record = _load(path, "workdir")
    return Record(
        record["config"],
        tuple(record["classes"]),
        tuple(record["image_shape"]),
        record[_OTHERS],
        record["data"],
    )


class _NoAliases(yaml.SafeDumper):
    """Writes a value that occurs twice in full both times."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _plain(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree as YAML reads it back: tuples become lists."""
    return dict(yaml.safe_load(yaml.safe_dump(dict(tree))))


def _compare_config(
    folder: pathlib.Path,
    saved: Mapping[str, Any],
    current: Mapping[str, Any],
    defaults: Mapping[str, Any],
    flag: str,
) -> None:
    fields = _differences(saved, current, defaults)
    if fields:
        more = len(fields) - _SHOWN
        tail = f"; and {more} more" if more > 0 else ""
        raise errors.InputError(
            f"{folder} was started with {'; '.join(fields[:_SHOWN])}{tail}: "
            f"give another {flag} or the old value{'s' if len(fields) > 1 else ''}."
        )


def _compare_data(
    folder: pathlib.Path,
    saved: Mapping[str, Any],
    current: Mapping[str, Any],
    flag: str,
) -> None:
    files = _differences(saved, current)
    if files:
        raise errors.InputError(
            f"{folder} was started with other data, {'; '.join(files)}: "
            f"give another {flag} or the old files."
        )


def _differences(
    saved: Mapping[str, Any],
    current: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> list[str]:
    """One clause for each leaf that differs; `defaults` are of what `saved` lacks."""
    old, new = _options(saved), _options(current)
    for name, value in (defaults or {}).items():
        if name in new:
            old.setdefault(name, value)
    return [
        f"{name}={old.get(name, _UNSET)}, this run has {new.get(name, _UNSET)}"
        for name in old | new
        if name not in old or name not in new or old[name] != new[name]
    ]


def _options(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves by dotted name, without the names of plug-ins that have no options."""
    return {name: value for name, value in flat(tree).items() if value != {}}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted name."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves |= flat(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = value
    return leaves


def _load(path: pathlib.Path, flag: str) -> dict[str, Any]:
    record = yaml_files.load(path)
    try:
        return {
            "config": dict(record["config"]),
            _OTHERS: dict(record.get(_OTHERS, {})),
            "data": dict(record["data"]),
            "classes": list(record.get("classes", [])),
            "image_shape": list(record.get("image_shape", [])),
        }
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise errors.InputError(
            f"{path} is not the config.yaml of a run: give another {flag}."
        ) from error


def _has_other_files(folder: pathlib.Path) -> bool:
    # A killed process leaves its lock and the draft. The labels of another run may have
    # been copied there, to be bought again. Images may have been embedded before.
    draft = storage.temporary(folder / workdir.CONFIG)
    allowed = (lock.FILE, draft.name, answers.FILE, workdir.EMBEDDINGS)
    return any(path.name not in allowed for path in folder.iterdir())
