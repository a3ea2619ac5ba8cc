"""config.yaml: which run a folder belongs to."""

import importlib.metadata
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from dact_jax import errors, storage
from dact_jax.rounds import workdir

_PACKAGES = ("dact_jax", "jax", "flax", "optax", "orbax-checkpoint", "numpy")


_UNSET = "(not set)"


_SHOWN = 3  # differing fields that a refusal spells out


def claim(
    folder: pathlib.Path,
    config: Mapping[str, Any],
    *,
    data: Mapping[str, str] | None,
    devices: Sequence[str],
    flag: str = "--workdir",
) -> None:
    """Makes the folder this run's own, or checks that it already is.

    Without `data` it only checks, and compares `config` alone: what can be told
    before the data are read.

    A new or empty folder gets config.yaml with `config`, `data`, `devices` and the
    versions of the libraries. In a run's folder `config` and `data` must be the same as
    then; devices and versions may differ, and those of the beginning stay written.

    Args:
      folder: of the run.
      config: resolved, nested; plain values.
      data: what was read -> a fingerprint of it, such as "target" -> "sha256:...";
        None: nothing was read yet.
      devices: names, such as "cpu".
      flag: what the user would change to have another folder.

    Raises:
      InputError: the folder is another run's, or not a run's.
    """
    path = folder / workdir.CONFIG
    # As it would be read back: tuples become lists.
    now = yaml.safe_load(
        yaml.safe_dump({"config": dict(config), "data": dict(data or {})})
    )
    if path.exists():
        then = _load(path, flag)
        if data is None:
            then = {**then, "data": {}}
        _compare(folder, then, now, flag)
        return
    if folder.exists() and (not folder.is_dir() or _foreign(folder)):
        raise errors.InputError(
            f"{folder} exists and holds no {workdir.CONFIG}, so it is not the "
            f"folder of a run: give an empty or new {flag}."
        )
    if data is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    origin = {
        "versions": versions | {"python": platform.python_version()},
        "devices": list(devices),
    }
    storage.write_atomic(path, yaml.dump(now | origin, Dumper=_Plain, sort_keys=False))


class _Plain(yaml.SafeDumper):
    """Writes a value that occurs twice twice, not as an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _compare(
    folder: pathlib.Path, then: Mapping[str, Any], now: Mapping[str, Any], flag: str
) -> None:
    fields = _differences(then["config"], now["config"])
    if fields:
        more = len(fields) - _SHOWN
        tail = f"; and {more} more" if more > 0 else ""
        raise errors.InputError(
            f"{folder} was made with {'; '.join(fields[:_SHOWN])}{tail}: "
            f"give another {flag} or the old value{'s' if len(fields) > 1 else ''}."
        )
    files = _differences(then["data"], now["data"])
    if files:
        raise errors.InputError(
            f"{folder} was made with other data, {'; '.join(files)}: "
            f"give another {flag} or the old files."
        )


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = _flat(then), _flat(now)
    return [
        f"{name}={old.get(name, _UNSET)}, this run asks for {new.get(name, _UNSET)}"
        for name in old | new
        if name not in old or name not in new or old[name] != new[name]
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _load(path: pathlib.Path, flag: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(storage.read_text(path))
        return {"config": dict(found["config"]), "data": dict(found["data"])}
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise errors.InputError(
            f"{path} is not what a run writes there: give another {flag}."
        ) from error


def _foreign(folder: pathlib.Path) -> bool:
    # A kill in the middle of claiming leaves the temporary file and nothing else.
    return any(
        path.name != storage.temporary(folder / workdir.CONFIG).name
        for path in folder.iterdir()
    )
