"""Reads small YAML files of plain values, which may be damaged or hostile.

PyYAML follows nested values by recursion, and aliases may make a short text endless; a
file that this library wrote has neither. Reading takes less than a kilobyte of memory
for each byte of the file.
"""

import copy
import functools
import pathlib
from typing import Any

import yaml

from dact_jax import errors, storage

_BYTES = 2**22  # of the whole file; a class takes about 20
_LEVELS = 50  # of nesting
_DIGITS = 100  # characters of a number
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_DAMAGE = (  # what PyYAML raises, also for values that their tags do not fit
    yaml.YAMLError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


class _Loader(yaml.SafeLoader):
    """Refuses what takes much more time or memory than the length of the text."""

    level = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("it has aliases, which this library does not write")
        if self.level == _LEVELS:
            raise ValueError(f"it is nested more than {_LEVELS} levels deep")
        self.level += 1
        node = super().compose_node(parent, index)
        self.level -= 1
        if node is not None and node.tag in _NUMBERS and len(node.value) > _DIGITS:
            raise ValueError(f"it has a number of more than {_DIGITS} digits")
        return node


def load(path: pathlib.Path) -> Any:
    """The value that a file stands for.

    Raises:
      InputError: the file is not YAML, or larger or more nested than any of ours.
    """
    size = path.stat().st_size
    if size > _BYTES:
        raise errors.InputError(
            f"{path} has {size} bytes, more than the {_BYTES} of a file that this "
            "library writes."
        )
    try:
        return copy.deepcopy(_parsed(storage.read_text(path)))
    except _DAMAGE as error:
        raise errors.InputError(
            f"{path} is not readable YAML: {errors.clause(error)}."
        ) from None


@functools.lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    """A start reads the same files again and again, and PyYAML is slow."""
    return yaml.load(text, Loader=_Loader)
