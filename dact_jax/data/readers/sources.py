"""Reads the domain that a config names by one string: a name or a path."""

import pathlib
from collections.abc import Sequence
from typing import Any

from dact_jax import array_files, errors
from dact_jax.data.cache.room import Cache
from dact_jax.data.huggingface import reading as hub, spec as hub_specs
from dact_jax.data.readers import (
    decoding,
    digits,
    embeddings,
    folder,
    lists,
    manifest,
    printed,
)
from dact_jax.data.readers.embeddings import Scale
from dact_jax.data.readers.files import OnError
from dact_jax.data.vector_files import contents, reading
from dact_jax.types import Dataset


def load(
    spec: str,
    *more: str,
    size: int,
    channels: int,
    root: str = "",
    tfds_dir: str = "",
    on_error: OnError = "raise",
    max_pixels: int = decoding.MAX_PIXELS,
    cache: Cache | None = None,
    scale: Scale = "unit",
    classes: Sequence[str] | None = None,
    others: bool = False,
) -> Dataset:
    """Reads a domain.

    Args:
      spec: "printed" (digits in fonts), "uci" (handwritten digits), "tfds:<name>",
        "hf:<name>" (a data set of `datasets`, see `data.huggingface.spec`), or
        the path of a folder of class folders, a .csv or .tsv manifest, a .txt list,
        an .npz file of digits or embeddings, or a .parquet or .npy file of embeddings.
      *more: further list files of the same domain, if `spec` is one.
      size: height and width of the stored images, in pixels.
      channels: 1 or 3.
      root: folder that paths in manifests and lists are relative to; "": the file's
        folder.
      tfds_dir: folder of prepared TFDS data; "": the default of TFDS.
      on_error: what to do with an unreadable image: "raise" an error, or "skip": leave
        it out and name it.
      max_pixels: largest width times height of an image file.
      cache: where decoded image files are kept; None: nowhere.
      scale: how embeddings are scaled, see `embeddings.load`.
      classes: the source's classes, for a target: the valid labels of a manifest, and
        what tells folders that are classes from others; None: any. List files ignore
        it, because folders name the classes of numbered lists.
      others: whether a manifest may have further labels.

    Raises:
      InputError: there are no such data, or they cannot be read; the message says why.
    """
    path = pathlib.Path(spec).expanduser()
    form: dict[str, Any] = {"size": size, "channels": channels}
    if spec in ("printed", "uci"):
        return {"printed": printed.load, "uci": digits.uci}[spec](**form)
    if spec.startswith("tfds:"):
        # TensorFlow Datasets takes seconds to import and no other source needs it.
        from dact_jax.data.readers import tfds_sets

        name = spec.removeprefix("tfds:")
        return tfds_sets.load(name, data_dir=tfds_dir or None, **form)
    checks: dict[str, Any] = {
        "on_error": on_error,
        "max_pixels": max_pixels,
        "cache": cache,
    }
    if spec.startswith(hub_specs.PREFIX):
        return hub.load(spec, **form, **checks)
    if not spec or not path.exists():
        raise errors.InputError(
            f"there is no data at {spec!r}: give a folder, a .csv, .tsv, .txt, .npz, "
            ".parquet or .npy file, 'printed', 'uci', 'tfds:<name>' or 'hf:<name>'."
        )
    if path.suffix.lower() == ".npz":
        return _npz(path, scale=scale, **form)
    if path.suffix.lower() in reading.SUFFIXES:
        return embeddings.load(path, name=path.stem, scale=scale)
    form |= checks
    if path.suffix.lower() in (".csv", ".tsv"):
        return manifest.load_csv(
            path, root=root or None, classes=classes, others=others, **form
        )
    if path.suffix.lower() == ".txt":
        return lists.load(path, *more, root=root or None, **form)
    if not path.is_dir():
        raise errors.InputError(_other_file(path))
    if path.name in ("", ".."):  # the name of the domain must be that of its folder
        path = path.resolve()
    return folder.load(path.parent, path.name, known=classes, **form)


def are_files(spec: str) -> bool:
    """Whether a domain consists of image files, which can be listed without reading."""
    built_in = spec in ("printed", "uci") or spec.startswith("tfds:")
    return not (built_in or pathlib.PurePath(spec).suffix.lower() in reading.SUFFIXES)


def _other_file(path: pathlib.Path) -> str:
    """One sentence on a file that is no domain; how an array becomes one."""
    return (
        f"{errors.printable(path)} is a file, but no .csv, .tsv, .txt, .npz, .parquet "
        "or .npy file: give one of these, or a folder with one folder for each class."
    )


def _npz(path: pathlib.Path, *, scale: Scale, size: int, channels: int) -> Dataset:
    """Embeddings or digits, depending on the names of the arrays in the file."""
    names = array_files.names(path)
    if contents.FEATURES in names:
        return embeddings.load(path, name=path.stem, scale=scale)
    if digits.ARRAYS[0] in names:
        return digits.npz(path, name=path.stem, size=size, channels=channels)
    raise errors.InputError(
        f"{path} has the arrays {sorted(names)}, but must have those of embeddings "
        f"(features, optionally label, path, classes) or of digits "
        f"({', '.join(digits.ARRAYS)})."
    )
