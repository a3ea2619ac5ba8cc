"""A domain by the one string that a config gives: its name, or a path."""

import pathlib
from collections.abc import Sequence
from typing import Any

from dact_jax import errors
from dact_jax.data import digits, embeddings, folder, manifest, printed, tfds_sets
from dact_jax.data.embeddings import Scale
from dact_jax.data.files import OnError
from dact_jax.types import Dataset


def load(
    what: str,
    *more: str,
    size: int,
    channels: int,
    root: str = "",
    tfds_dir: str = "",
    on_error: OnError = "raise",
    scale: Scale = "unit",
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Reads a domain.

    Args:
      what: "printed" (digits in fonts), "uci" (handwritten digits), "tfds:<name>", or
        a path: a folder of class folders; a .csv manifest; a .txt list; an .npz of
        digits or embeddings.
      *more: further lists of the same domain, if `what` is one.
      size: height and width, in pixels, that images are stored with.
      channels: 1 or 3.
      root: where the paths of manifests and lists start; empty: at the file's folder.
      tfds_dir: where TFDS keeps its data; empty: its default.
      on_error: of an unreadable image: "raise", or "skip" and count.
      scale: of embeddings, "unit" or "raw".
      classes: what a manifest's labels must be (the other domain's classes); None:
        any. Numbered lists name their classes by folder, so they are not bound.

    Raises:
      InputError: nothing there, or it cannot be read; the message says why.
    """
    path = pathlib.Path(what).expanduser()
    stored: dict[str, Any] = {"size": size, "channels": channels}
    if what in ("printed", "uci"):
        return {"printed": printed.load, "uci": digits.uci}[what](**stored)
    if what.startswith("tfds:"):
        return tfds_sets.load(
            what.removeprefix("tfds:"), data_dir=tfds_dir or None, **stored
        )
    if not what or not path.exists():
        raise errors.InputError(
            f"there is no data at {what!r}: give a folder, a .csv, .txt or .npz file, "
            "'printed', 'uci' or 'tfds:<name>'."
        )
    if path.suffix == ".npz":
        return _npz(path, scale=scale, **stored)
    if path.suffix == ".csv":
        return manifest.load_csv(
            path, root=root or None, on_error=on_error, classes=classes, **stored
        )
    if path.suffix == ".txt":
        return manifest.load_list(
            path, *more, root=root or None, on_error=on_error, **stored
        )
    return folder.load(path.parent, path.name, on_error=on_error, **stored)


def _npz(path: pathlib.Path, *, scale: Scale, size: int, channels: int) -> Dataset:
    """Embeddings or digits, by the names of the file's arrays."""
    names = embeddings.array_names(path)
    if embeddings.FEATURES in names:
        return embeddings.load(path, name=path.stem, scale=scale)
    if digits.KEYS[0] in names:
        return digits.npz(path, name=path.stem, size=size, channels=channels)
    raise errors.InputError(
        f"{path} has the arrays {sorted(names)}: give embeddings (features, and "
        f"perhaps label, path, classes) or digits ({', '.join(digits.KEYS)})."
    )
