"""Which folders of a domain are classes, and which images have no label."""

from collections.abc import Sequence
from typing import NamedTuple

from dact_jax import errors
from dact_jax.data.classes import differences
from dact_jax.types import LeftOut

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
# Names of folders, in lower case, that are no class: their images have no label.
NO_CLASS = ("unlabeled", "_unlabeled", "unlabelled", "_unlabelled", "unknown")
_LISTED = 3  # folders that a note names


class Image(NamedTuple):
    id: str
    label: str | None  # name of the class's folder
    part: str | None  # of the split


class Sorted(NamedTuple):
    images: list[Image]  # in the order of the ids
    left_out: list[LeftOut]  # folders whose images are not among them
    notes: list[str]  # sentences on what the folders were taken for


def sort(ids: Sequence[str], domain: str, known: Sequence[str] | None) -> Sorted:
    """Reads classes and parts of the split off the paths of images.

    Args:
      ids: N paths that begin with the folder of the domain.
      domain: name of that folder.
      known: the classes of the source, if this is a target. Where none of its folders
        is one of them, its images are unlabelled. None: this is a source, which cannot
        use images without a label; those in folders named so are left out.

    Raises:
      InputError: folders of parts and other folders hold the same classes.
    """
    base = class_folder(ids, domain)
    images = _images(ids, base)
    notes, left_out = _notes(domain, base, images), []
    if known is None:
        left_out = _unlabelled_folders(images, base)
        images = [i for i in images if i.label is None or not _is_no_class(i.label)]
        return Sorted(images, left_out, notes)
    images = [_unlabelled(i) if _is_no_class(i.label) else i for i in images]
    labels = sorted({image.label for image in images if image.label is not None})
    if labels and not any(differences.resembles(name, known) for name in labels):
        notes = [_no_class_of_source(domain, labels, len(images))]
        images = list(map(_unlabelled, images))
    else:
        notes += _beside(images, base)
    if all(image.label is None for image in images):  # and such images cannot test
        images = [image._replace(part=None) for image in images]
    return Sorted(images, left_out, notes)


def class_folder(ids: Sequence[str], domain: str) -> str:
    """The folder whose subfolders are the classes.

    It is the domain's, unless that holds a single folder and nothing else: with one
    class there would be nothing to tell apart.
    """
    base = domain
    while True:
        below = _below(ids, base)
        folders = [name for name, paths in below.items() if len(paths[0]) > 1]
        if len(below) != 1 or not folders or _is_no_class(folders[0]):
            break
        base = f"{base}/{folders[0]}"
    if base == domain or len(folders) < 2:
        return domain
    return base


def class_name(id: str, base: str) -> str | None:
    """The folder below base that the image lies in; None if it lies in base itself."""
    parts = id.removeprefix(f"{base}/").split("/")
    return parts[0] if len(parts) > 1 else None


def _is_no_class(name: str | None) -> bool:
    return name is not None and name.lower() in NO_CLASS


def _unlabelled(image: Image) -> Image:
    part = None if image.part is None else "train"
    return image._replace(label=None, part=part)


def _below(ids: Sequence[str], base: str) -> dict[str, list[list[str]]]:
    """The folders and files in base -> the paths of images below base, in parts."""
    below: dict[str, list[list[str]]] = {}
    for id in ids:
        parts = id.removeprefix(f"{base}/").split("/")
        below.setdefault(parts[0], []).append(parts)
    return below


def _images(ids: Sequence[str], base: str) -> list[Image]:
    """The images with their classes and, where folders are named so, their parts."""
    below = _below(ids, base)
    if not all(len(path) > 1 for paths in below.values() for path in paths):
        return [Image(id, class_name(id, base), None) for id in ids]
    parts = {name: PARTS[name.lower()] for name in below if name.lower() in PARTS}
    others = [n for n in below if n not in parts and not _is_no_class(n)]
    if len(below) > 1 and parts and not others:
        return [_in_part(id, base, parts) for id in ids]
    _check_one_level(below, parts, base)
    return [Image(id, class_name(id, base), None) for id in ids]


def _in_part(id: str, base: str, parts: dict[str, str]) -> Image:
    """An image below the folder of a part, or in one beside them that is no class."""
    folder = class_name(id, base)
    assert folder is not None
    if folder not in parts:
        return Image(id, folder, "train")
    return Image(id, class_name(id, f"{base}/{folder}"), parts[folder])


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


def _unlabelled_folders(images: Sequence[Image], base: str) -> list[LeftOut]:
    """The folders of a source that are no class, with how many images they hold."""
    names = [image.label for image in images if _is_no_class(image.label)]
    return [
        LeftOut(
            f"{base}/{name}",
            f"by its name its images have no label ({names.count(name)}), and all of a "
            "source need one",
        )
        for name in sorted({*filter(None, names)})
    ]


def _notes(domain: str, base: str, images: Sequence[Image]) -> list[str]:
    """What to say about a folder whose classes are not right in the domain's."""
    place, notes = errors.printable(base), []
    if base != domain:
        name = errors.printable(domain)
        notes.append(f"The classes of {name} are in {place}.")
    if any(image.part is not None for image in images):
        notes.append(f"The folders in {place} are taken as the parts of its split.")
    return notes


def _no_class_of_source(domain: str, labels: Sequence[str], count: int) -> str:
    listed = ", ".join(map(errors.printable, labels[:_LISTED]))
    more = len(labels) - _LISTED
    tail = f" and {more} more" if more > 0 else ""
    return (
        f"No folder of {errors.printable(domain)} ({listed}{tail}) is a class of the "
        f"source: all its {count} images count as unlabelled."
    )


def _beside(images: Sequence[Image], base: str) -> list[str]:
    """What to say about images without a label beside images with one."""
    direct = sum(class_name(image.id, base) is None for image in images)
    if not direct or all(image.label is None for image in images):
        return []
    lie = "1 image lies" if direct == 1 else f"{direct} images lie"
    return [
        f"{lie} in {errors.printable(base)} itself, in no folder of a class, and "
        f"count{'s' if direct == 1 else ''} as unlabelled."
    ]
