"""Image folders: root/<domain>/<class>/*."""

import os
import pathlib
from collections.abc import Sequence

from dact_jax import errors
from dact_jax.data.readers import files
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
    """Reads the images of one domain, sorted by id.

    Images directly in the domain's folder are unlabelled. Class folders may contain
    subfolders. Hidden files and folders, and files that are not named like images,
    are ignored.

    Args:
      root: folder with one subfolder per domain.
      domain: name of the domain's folder.
      size: height and width of the decoded images, in pixels.
      channels: 1 or 3.
      on_error: what to do with an unreadable image: "raise" an error, or "skip": log
        it, leave it out and count it.
      classes: class folders to read, in the order of their numbers; None: all, sorted.

    Returns:
      A dataset whose ids are paths relative to root, as "photo/dog/056_0001.jpg".

    Raises:
      InputError: there is no such folder or class, or no image, or an image is
        unreadable.
    """
    root = pathlib.Path(root)
    if not (root / domain).is_dir():
        domains = sorted(p.name for p in root.glob("*/")) if root.is_dir() else []
        hint = f"; {root} has {', '.join(domains)}" if domains else ""
        raise errors.InputError(f"there is no folder {root / domain}{hint}.")
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
    for folder, subfolders, names in os.walk(root / domain, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        paths = (pathlib.Path(folder, name) for name in names)
        ids += [p.relative_to(root).as_posix() for p in paths if files.is_image(p)]
    if not ids:
        suffixes = ", ".join(files.SUFFIXES)
        raise errors.InputError(f"there are no images ({suffixes}) in {root / domain}.")
    return sorted(ids)


def _class_name(id: str) -> str | None:
    """The folder below the domain's; None for an image directly in the domain's."""
    below_domain = id.split("/")[1:]
    return below_domain[0] if len(below_domain) > 1 else None
