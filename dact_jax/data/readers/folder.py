"""Image folders: root/<domain>/<class>/*, also where they lie one level deeper."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from dact_jax import errors
from dact_jax.data import left_out
from dact_jax.data.readers import decoding, files, links, listing
from dact_jax.types import UNLABELED, Dataset, LeftOut

# Names of folders, in lower case, that hold the parts of an official split.
PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


class _Image(NamedTuple):
    id: str
    label: str | None  # name of the class's folder
    part: str | None  # of the split


def load(
    root: str | pathlib.Path,
    domain: str,
    *,
    size: int,
    channels: int = 3,
    on_error: files.OnError = "raise",
    classes: Sequence[str] | None = None,
    max_pixels: int = decoding.MAX_PIXELS,
) -> Dataset:
    """Reads the images of one domain, sorted by id.

    Images directly in the domain's folder are unlabelled. Class folders may contain
    subfolders, and may lie deeper than the domain's folder, if that has no other
    images: in b/images, or in b/train and b/test, which are then the official split.

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
      max_pixels: largest width times height of a file.

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
    base = _class_folder(found.images, domain)
    images = _images(found.images, base)
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
            (*found.left_out, *_empty(found, base)),
        ),
        class_names,
        size=size,
        channels=channels,
        on_error=on_error,
        max_pixels=max_pixels,
    )
    return data._replace(notes=tuple(_notes(domain, base, split=bool(parts))))


def _notes(domain: str, base: str, *, split: bool) -> list[str]:
    """What to say about a folder whose classes are not right in the domain's."""
    place, notes = errors.printable(base), []
    if base != domain:
        name = errors.printable(domain)
        notes.append(f"The classes of {name} are in {place}.")
    if split:
        notes.append(f"The folders in {place} are taken as the parts of its split.")
    return notes


def _class_folder(ids: Sequence[str], domain: str) -> str:
    """The folder whose subfolders are the classes.

    It is the domain's, unless that holds a single folder and nothing else: with one
    class there would be nothing to tell apart.
    """
    base = domain
    while True:
        below = _below(ids, base)
        folders = [name for name, paths in below.items() if len(paths[0]) > 1]
        if len(below) != 1 or not folders:
            break
        base = f"{base}/{folders[0]}"
    if base == domain or len(folders) < 2:
        return domain
    return base


def _below(ids: Sequence[str], base: str) -> dict[str, list[list[str]]]:
    """The folders and files in base -> the paths of images below base, in parts."""
    below: dict[str, list[list[str]]] = {}
    for id in ids:
        parts = id.removeprefix(f"{base}/").split("/")
        below.setdefault(parts[0], []).append(parts)
    return below


def _images(ids: Sequence[str], base: str) -> list[_Image]:
    """The images with their classes and, where folders are named so, their parts.

    Raises:
      InputError: folders of parts and other folders hold the same classes.
    """
    below = _below(ids, base)
    if not all(len(path) > 1 for paths in below.values() for path in paths):
        return [_Image(id, _class_name(id, base), None) for id in ids]
    parts = {name: PARTS[name.lower()] for name in below if name.lower() in PARTS}
    if len(below) > 1 and len(parts) == len(below):
        images = []
        for id in ids:
            folder = _class_name(id, base)
            assert folder is not None
            name = _class_name(id, f"{base}/{folder}")
            images.append(_Image(id, name, parts[folder]))
        return images
    _check_one_level(below, parts, base)
    return [_Image(id, _class_name(id, base), None) for id in ids]


def _check_one_level(
    below: dict[str, list[list[str]]], parts: dict[str, str], base: str
) -> None:
    """Raises InputError if a folder of a part and another one hold equal folders."""
    inner = {
        name: {path[1] for path in paths if len(path) > 2}
        for name, paths in below.items()
    }
    for part in parts:
        for name in inner.keys() - parts.keys():
            if shared := sorted(inner[part] & inner[name]):
                raise errors.InputError(
                    f"{errors.printable(base)} has the folders {part!r} and {name!r}, "
                    f"and both hold {shared[0]!r}: keep only train, val and test "
                    "there, or name the folder that holds the classes."
                )


def _class_name(id: str, base: str) -> str | None:
    """The folder below base that the image lies in; None if it lies in base itself."""
    parts = id.removeprefix(f"{base}/").split("/")
    return parts[0] if len(parts) > 1 else None


def _empty(found: listing.Listing, base: str) -> list[LeftOut]:
    """The folders in base without images: perhaps classes that lost theirs."""
    full = {_class_name(id, base) for id in found.images}
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
    text = f"there are no images in {errors.printable(str(root / domain))}"
    if not found.left_out:
        return f"{text}."
    first = found.left_out[0]
    return (
        f"{text}; {left_out.count(found.left_out)} left out, such as "
        f"{errors.printable(first.path)}: {first.reason}."
    )
