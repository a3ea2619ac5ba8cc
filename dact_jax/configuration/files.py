"""Config files: found by path or by name, loaded, and changed field by field.

The configs that come with the package are `dact_jax/configs/*.py` in an installed
wheel, and `configs/*.py` beside the package in a checkout.
"""

import inspect
import os
import pathlib
import runpy
from typing import Any

import numpy as np

from dact_jax import errors
from dact_jax.configuration import defaults
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
        than its field.
    """
    name, _, argument = os.fspath(spec).partition(":")
    path = resolve(name)
    get_config = runpy.run_path(str(path)).get("get_config")
    if get_config is None:
        raise errors.InputError(
            f"the config file {str(path)!r} defines no get_config()."
        )
    arguments = [argument] if argument else []
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError:
        raise errors.InputError(
            f"get_config() of the config file {str(path)!r} cannot be called with the "
            f"arguments {arguments}."
        ) from None
    config = get_config(*arguments)
    for field, value in overrides.items():
        override(config, field, value)
    return config


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
    path = pathlib.Path(name)
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
