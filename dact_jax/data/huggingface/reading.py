"""An image data set of `datasets` as a domain."""

import hashlib
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from absl import logging

from dact_jax import errors
from dact_jax.data.cache.room import Cache
from dact_jax.data.huggingface import columns, loading, spec as specs, unpacking
from dact_jax.data.huggingface.spec import Spec
from dact_jax.data.readers import decoding, files
from dact_jax.data.readers.links import Found
from dact_jax.types import Dataset

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "val"),
    "test": "test",
}
_NAME = re.compile(r"(\w[\w.-]*)?")  # of a split, as `datasets` has them


def load(
    text: str,
    *,
    size: int,
    channels: int,
    on_error: files.OnError = "raise",
    max_pixels: int = decoding.MAX_PIXELS,
    cache: Cache | None = None,
) -> Dataset:
    """Reads a data set that `datasets` has on this machine.

    Its images are written to files in the user's cache, once. Of several splits, train,
    validation and test become the split; one alone is not split.

    Args:
      text: as `spec.parse` documents it.
      size, channels, on_error, max_pixels, cache: as in `readers.files.dataset`.

    Raises:
      InputError: `datasets` is missing or has no such data set, split or column, or an
        image cannot be read.
    """
    spec = specs.parse(text)
    parts = _known(spec, loading.parts(spec))
    found = columns.find(spec, next(iter(parts.values())).features)
    rows = {name: columns.rows(spec, part, found) for name, part in parts.items()}
    if not sum(len(chosen.number) for chosen in rows.values()):
        raise errors.InputError(_no_row(spec, parts))
    label, class_names, is_bare = columns.numbered(
        [value for chosen in rows.values() for value in chosen.label], found
    )
    chosen = [
        unpacking.Part(name or "all", part, rows[name].number)
        for name, part in parts.items()
    ]
    folder = unpacking.place(_key(spec, parts, found))
    ids, is_new = unpacking.files(folder, chosen, found.image)
    note = f"The images of {text} were written to {folder}, once."
    split = None
    if len(parts) > 1:
        split = [_SPLITS[name] for name in parts for _ in rows[name].label]
    data = files.dataset(
        _name(spec),
        folder,
        Found(ids, label, split),
        class_names,
        size=size,
        channels=channels,
        on_error=on_error,
        max_pixels=max_pixels,
        cache=cache,
    )
    naming = f"make the column {found.label} of {spec.name} one of ClassLabel"
    return data._replace(
        notes=(*data.notes, *[note] * is_new), unnamed=naming if is_bare else ""
    )


def _known(spec: Spec, parts: Mapping[str, Any]) -> Mapping[str, Any]:
    """One part, or of several those whose role is known."""
    for name in parts:
        if not _NAME.fullmatch(name):
            raise errors.InputError(f"{spec.text!r}: {name!r} is no name of a split.")
    if len(parts) == 1:
        return parts
    known = {name: part for name, part in parts.items() if name in _SPLITS}
    others = [name for name in parts if name not in known]
    if not known:
        raise errors.InputError(
            f"{spec.text!r} has the splits {', '.join(map(repr, parts))}: name one, as "
            f"hf:{spec.name}:{others[0]}."
        )
    if others:
        logging.warning(
            "%s: splits that are not read: %s.", spec.text, ", ".join(others)
        )
    return known


def _no_row(spec: Spec, parts: Mapping[str, Any]) -> str:
    if not spec.where:
        return f"{spec.text!r} has no row."
    name, value = next(iter(spec.where.items()))
    known = columns.values(spec, list(parts.values()), name)
    return f"{spec.text!r}: no row has {name}={value}; that column has {known}."


def _name(spec: Spec) -> str:
    name = pathlib.PurePath(spec.name).name or spec.name
    return "-".join([name, *spec.where.values()])


def _key(spec: Spec, parts: Mapping[str, Any], found: columns.Columns) -> str:
    """Names the files of these rows; equal for equal rows of the same data set."""
    prints = {name: part._fingerprint for name, part in parts.items()}
    asked = [prints, found.image, dict(spec.where)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]
