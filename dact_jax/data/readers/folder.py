"""Image folders: root/<domain>/<class>/*, also where they lie one level deeper."""

import pathlib
from collections.abc import Sequence

from dact_jax import errors
from dact_jax.data import left_out
from dact_jax.data.cache.room import Cache
from dact_jax.data.classes import folders
from dact_jax.data.readers import decoding, files, links, listing
from dact_jax.types import UNLABELED, Dataset, LeftOut


def load(
    root: str | pathlib.Path,
    domain: str,
    *,
    size: int,
    channels: int = 3,
    on_error: files.OnError = "raise",
    classes: Sequence[str] | None = None,
    known: Sequence[str] | None = None,
    max_pixels: int = decoding.MAX_PIXELS,
    cache: Cache | None = None,
) -> Dataset:
    """Reads the images of one domain, sorted by id.

    Images directly in the domain's folder are unlabelled, and so are those in a folder
    with a name of `folders.NO_CLASS`. Class folders may contain subfolders, and may lie
    deeper than the domain's folder, if that has no other images: in b/images, or in
    b/train and b/test, which are then the official split.

    Hidden files and folders, and those of operating systems, are ignored. Other files
    that are no images, and further names of a file or folder (links), are left out and
    named in `Dataset.left_out`.

    Args:
      root: folder with one subfolder per domain.
      domain: name of the domain's folder.
      size: height and width of the decoded images, in pixels.
      channels: 1 or 3.
      on_error: what to do with an unreadable image or folder: "raise" an error, or
        "skip": leave it out and name it.
      classes: class folders to read, in the order of their numbers; None: all, sorted.
      known: the source's classes, for a target: see `folders.sort`.
      max_pixels: largest width times height of a file.
      cache: where decoded images are kept; None: nowhere.

    Returns:
      A dataset whose ids are paths relative to root, as "photo/dog/056_0001.jpg".

    Raises:
      InputError: there is no such folder or class, or no image, or images or folders
        are unreadable.
    """
    root = pathlib.Path(root)
    if not (root / domain).is_dir():
        domains = sorted(p.name for p in root.glob("*/")) if root.is_dir() else []
        hint = f"; {root} has {', '.join(domains)}" if domains else ""
        raise errors.InputError(f"there is no folder {root / domain}{hint}.")
    found = listing.walk(root, domain)
    if not found.images:
        raise errors.InputError(_no_images(root, domain, found, on_error))
    taken = folders.sort(found.images, domain, known)
    images, omitted = taken.images, [*found.left_out, *taken.left_out]
    if not images:
        raise errors.InputError(_none(root, domain, omitted, "labelled images"))
    present = sorted({image.label for image in images if image.label is not None})
    for name in classes or ():
        if name not in present:
            raise errors.InputError(
                f"class {name!r} has no images in {root / domain}; "
                f"{errors.suggestion(name, present)}"
            )
    class_names = tuple(classes or present)
    number: dict[str | None, int] = {name: k for k, name in enumerate(class_names)}
    number[None] = UNLABELED
    images = [image for image in images if image.label in number]
    parts = [image.part for image in images if image.part is not None]
    data = files.dataset(
        domain,
        root,
        links.Found(
            [image.id for image in images],
            [number[image.label] for image in images],
            parts or None,
            (*omitted, *_empty(found, folders.class_folder(found.images, domain))),
        ),
        class_names,
        size=size,
        channels=channels,
        on_error=on_error,
        max_pixels=max_pixels,
        cache=cache,
    )
    return data._replace(notes=tuple(taken.notes))


def _empty(found: listing.Listing, base: str) -> list[LeftOut]:
    """The folders in base without images: perhaps classes that lost theirs."""
    full = {folders.class_name(id, base) for id in found.images}
    names = {
        path.removeprefix(f"{base}/").split("/")[0]
        for path in found.folders
        if path.startswith(f"{base}/")
    }
    return [
        LeftOut(f"{base}/{name}", "it holds no image") for name in sorted(names - full)
    ]


def _no_images(
    root: pathlib.Path, domain: str, found: listing.Listing, on_error: files.OnError
) -> str:
    damaged = [file for file in found.left_out if file.damaged]
    if damaged and on_error == "raise":
        return left_out.refusal(root, damaged)
    return _none(root, domain, found.left_out, "images")


def _none(
    root: pathlib.Path, domain: str, omitted: Sequence[LeftOut], what: str
) -> str:
    text = f"there are no {what} in {errors.printable(str(root / domain))}"
    if not omitted:
        return f"{text}."
    return (
        f"{text}; {left_out.count(omitted)} left out, such as "
        f"{errors.printable(omitted[0].path)}: {omitted[0].reason}."
    )
