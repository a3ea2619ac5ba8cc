"""Labels that a caller gives, as positions in the names of the classes."""

from collections.abc import Sequence

import numpy as np

from dact_jax import errors
from dact_jax.types import UNLABELED, Array


def numbers(labels: Sequence[str] | Array, class_names: Sequence[str]) -> np.ndarray:
    """Positions of labels in class_names, int32[N]; UNLABELED for none.

    Args:
      labels: N names of classes, "" for none; or int[N] positions, -1 for none.

    Raises:
      InputError: one is no class, or they have another form.
    """
    array = np.asarray(labels)
    if not array.size:
        return np.zeros(0, np.int32)
    if array.ndim != 1 or array.dtype.kind not in "iuUO":
        raise errors.InputError(
            "labels must be N names of classes or int[N], not "
            f"{array.dtype}{list(array.shape)}."
        )
    if array.dtype.kind in "iu":
        bad = array[(array < UNLABELED) | (array >= len(class_names))]
        if bad.size:
            raise errors.InputError(
                f"label {bad[0]} is no class: they are 0 .. {len(class_names) - 1}."
            )
        return array.astype(np.int32)
    number = {name: k for k, name in enumerate(class_names)} | {"": UNLABELED}
    for name in array.tolist():
        if name not in number:
            raise errors.InputError(
                f"there is no class {name!r}; "
                f"{errors.suggestion(str(name), class_names)}"
            )
    return np.array([number[name] for name in array.tolist()], np.int32)
