"""Config files: found by path or by name, loaded, and changed field by field.

The configs that come with the package are `dact_jax/configs/*.py` in an installed
wheel, and `configs/*.py` beside the package in a checkout.
"""

import inspect
import os
import pathlib
import runpy
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections
import numpy as np

from dact_jax import errors, paths
from dact_jax.configuration import defaults, presets
from dact_jax.configuration.defaults import Config

_PACKAGE = pathlib.Path(__file__).parents[1]
_CONFIGS = "configs"  # name of the folder, in a wheel and in a checkout


def load(spec: str | os.PathLike[str], /, **overrides: Any) -> Config:
    """Loads a config file and changes some of its fields.

    Args:
      spec: a path or the name of a packaged config, then optionally a colon and the
        argument of its `get_config`: "configs/digits.py", "digits:preset=s_clue".
      **overrides: values by field, such as `seed=1` or `**{"train.steps": 100}`. They
        are set after the file has set its own, as `--config.seed=1` is. An int is
        accepted for a float, a list for a tuple, and a path for a str.

    Raises:
      InputError: there is no such file, preset or field, or a value has another type
        than its field; or the file fails.
    """
    path, argument = located(spec, overrides)
    config = _call(_get_config(path), path, [argument] if argument else [])
    for field, value in overrides.items():
        override(config, field, value)
    return config


def located(
    spec: str | os.PathLike[str], overrides: Mapping[str, Any]
) -> tuple[pathlib.Path, str]:
    """The config file of a spec, and the argument of its get_config; "" for none.

    A file may name fields in DEPENDS_ON whose values decide about others, such as
    ("model.encoder",). Those that are overridden are added to the argument, as in
    "preset=s_act,model.encoder=resnet50", so that get_config knows them.

    Args:
      overrides: values by field.

    Raises:
      InputError: there is no such file, the spec ends in a colon, or the file is no
        Python.
    """
    name, colon, argument = os.fspath(spec).partition(":")
    path = resolve(name)
    if colon and not argument:
        raise errors.InputError(
            f"the config {os.fspath(spec)!r} ends in a colon: leave it out, or give a "
            "preset after it, such as ':preset=s_act'."
        )
    depends_on = _names_of(path).get("DEPENDS_ON", ()) if overrides else ()
    for field in depends_on:
        if field in overrides:
            argument = presets.with_argument(argument, field, overrides[field])
    return path, argument


def _names_of(path: pathlib.Path) -> dict[str, Any]:
    """What a config file defines.

    Raises:
      InputError: it is no Python, or fails.
    """
    try:
        return runpy.run_path(str(path))
    except Exception as error:
        raise _failed(path, error) from error


def _get_config(path: pathlib.Path) -> Callable[..., Any]:
    """The function get_config of a config file.

    Raises:
      InputError: the file is no Python, or has no such function.
    """
    get_config = _names_of(path).get("get_config")
    if not callable(get_config):
        raise errors.InputError(f"the config file {path} defines no get_config().")
    return get_config


def _call(
    get_config: Callable[..., Any], path: pathlib.Path, arguments: list[str]
) -> Config:
    """What get_config() of a config file returns.

    Raises:
      InputError: it takes other arguments, fails, or returns something else.
    """
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError:
        raise errors.InputError(
            f"get_config() of the config file {path} cannot be called with the "
            f"arguments {arguments}."
        ) from None
    try:
        config = get_config(*arguments)
    except Exception as error:
        raise _failed(path, error) from error
    if not isinstance(config, ml_collections.ConfigDict):
        code = getattr(get_config, "__code__", None)
        place = f", line {code.co_firstlineno}" if code else ""
        raise errors.InputError(
            f"{path}{place}: get_config() returns {_kind(config)}, but must return the "
            "config that dact_jax.configuration.defaults.get_config() makes."
        )
    return config


def _failed(path: pathlib.Path, error: Exception) -> errors.InputError:
    """One sentence on an error in a config file, with its last line in that file."""
    if isinstance(error, errors.InputError):
        return error
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line, reason = error.lineno, error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        line = lines[-1] if lines else None
        text = " ".join(str(error).split()).strip("\"'")
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
    place = "" if line is None else f", line {line}"
    return errors.InputError(f"{path}{place}: {reason.rstrip('.')}.")


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def override(config: Config, field: str, value: Any) -> None:
    """Sets one field of the config, in place.

    Args:
      field: dotted, such as "train.steps".

    Raises:
      InputError: the config has no such field, or the value has another type.
    """
    defaults.check_field(field, config)
    current = defaults.leaves(config)[field]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(current, str) and isinstance(value, os.PathLike):
        value = os.fspath(value)
    defaults.check_value(field, value)
    config.update_from_flattened_dict({field: type(current)(value)})


def resolve(name: str | os.PathLike[str]) -> pathlib.Path:
    """The config file that a path or a name stands for.

    A file of that path wins. Otherwise "digits", "digits.py" and "configs/digits.py"
    are the packaged config.

    Raises:
      InputError: there is neither such a file nor such a packaged config.
    """
    path = pathlib.Path(paths.expanded(name, "config"))
    if path.is_file():
        return path
    if path.parent in (pathlib.Path(), pathlib.Path(_CONFIGS)):
        stem = path.name.removesuffix(".py")
        if stem in names():
            return _folder() / f"{stem}.py"
    raise errors.InputError(
        f"there is no config file {os.fspath(name)!r}; among the packaged configs, "
        f"{errors.suggestion(path.name.removesuffix('.py'), names())}"
    )


def names() -> tuple[str, ...]:
    """The packaged configs, sorted, such as "digits"."""
    return tuple(sorted(path.stem for path in _folder().glob("[!_]*.py")))


def _folder() -> pathlib.Path:
    packaged = _PACKAGE / _CONFIGS
    return packaged if packaged.is_dir() else _PACKAGE.parent / _CONFIGS
