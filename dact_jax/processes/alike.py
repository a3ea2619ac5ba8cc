"""Checks that all processes of a run have read the same."""

import hashlib
from collections.abc import Mapping

import numpy as np

from dact_jax import errors
from dact_jax.processes import group


def check_names(names: Mapping[str, np.ndarray]) -> None:
    """Checks that all processes have listed the same images, before they are opened.

    Args:
      names: str[N] by what was listed, such as "target".

    Raises:
      InputError: in every process, if they have not.
    """
    if group.size() == 1:
        return
    check({side: _digest(listed) for side, listed in names.items()})


def _digest(names: np.ndarray) -> str:
    text = "\n".join(names.tolist()).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()


def check(record: Mapping[str, str]) -> None:
    """Checks that what identifies the data of a run is equal in all processes.

    Args:
      record: what was read -> its fingerprint, such as "target" -> "sha256:...".

    Raises:
      InputError: in every process, if it is not.
    """
    records = group.everyone(dict(record))
    for number, other in enumerate(records):
        for name in {**records[0], **other}:
            if other.get(name) != records[0].get(name):
                raise errors.InputError(
                    f"process {number} of {len(records)} reads other data than process "
                    f"0 ({name}): give all processes the same files under the same "
                    "names."
                )
