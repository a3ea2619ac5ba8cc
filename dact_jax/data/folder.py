"""Image folders: root/<domain>/<class>/*."""

import os
import pathlib
from collections.abc import Sequence

from dact_jax import errors
from dact_jax.data import files
from dact_jax.types import UNLABELED, Dataset


def load(
    root: str | pathlib.Path,
    domain: str,
    *,
    size: int,
    channels: int = 3,
    on_error: files.OnError = "raise",
    classes: Sequence[str] | None = None,
) -> Dataset:
    """The images of one domain; those outside any class folder have no label.

    Folders may be nested below the class; hidden files and folders, and files that
    are not named like images, do not count. Images are in order of their ids.

    Args:
      root: holds one folder a domain.
      domain: the folder's name.
      size: pixels; decoded images are size x size.
      channels: 1 or 3.
      on_error: of an unreadable image: "raise", or "skip", log and count it.
      classes: class folders to read, in this order; None: all, by name.

    Returns:
      A dataset whose ids are paths relative to root: "photo/dog/056_0001.jpg".

    Raises:
      InputError: no such folder or class, no images, an unreadable image.
    """
    root = pathlib.Path(root)
    if not (root / domain).is_dir():
        found = sorted(p.name for p in root.glob("*/")) if root.is_dir() else []
        hint = f"; {root} has {', '.join(found)}" if found else ""
        raise errors.InputError(f"there is no folder {root / domain}{hint}")
    ids = _images(root, domain)
    names = {id: _class_name(id) for id in ids}
    present = sorted({name for name in names.values() if name is not None})
    for name in classes or ():
        if name not in present:
            raise errors.InputError(
                f"class {name!r} has no images in {root / domain}; "
                f"{errors.suggestion(name, present)}"
            )
    class_names = tuple(classes or present)
    number: dict[str | None, int] = {name: k for k, name in enumerate(class_names)}
    number[None] = UNLABELED
    ids = [id for id in ids if names[id] in number]
    return files.dataset(
        domain,
        root,
        ids,
        [number[names[id]] for id in ids],
        class_names,
        size=size,
        channels=channels,
        on_error=on_error,
    )


def _images(root: pathlib.Path, domain: str) -> list[str]:
    """Sorted ids of all image files; links to folders are followed."""
    ids = []
    for folder, below, names in os.walk(root / domain, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".")]
        paths = (pathlib.Path(folder, name) for name in names)
        ids += [p.relative_to(root).as_posix() for p in paths if files.is_image(p)]
    if not ids:
        kinds = ", ".join(files.SUFFIXES)
        raise errors.InputError(f"no images ({kinds}) in {root / domain}")
    return sorted(ids)


def _class_name(id: str) -> str | None:
    """The folder right below the domain's; None for an image in the domain's own."""
    inside = id.split("/")[1:]
    return inside[0] if len(inside) > 1 else None
