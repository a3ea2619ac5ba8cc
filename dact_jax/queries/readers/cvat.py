"""CVAT for images 1.1: the tag of each image."""

import pathlib
import re
from xml.etree import ElementTree

from absl import logging

from dact_jax import errors
from dact_jax.queries.readers.written import Written

ROOT, INTERFACE = "annotations", "View"  # the first elements of CVAT's and our own XML
_DECLARES = re.compile(r"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_SHAPES = {"box", "polygon", "polyline", "points", "ellipse", "cuboid", "mask"}
_PROGRAM = "auto"  # the source of tags that a model of CVAT has set


def read(path: pathlib.Path, text: str, skip_label: str) -> list[Written]:
    """The images that have a tag.

    Args:
      skip_label: the label that means skip.

    Raises:
      InputError: the text is no such XML, or an image has shapes alone or several
        tags; the message names the image.
    """
    root = _root(path, text)
    if root.tag == INTERFACE:  # label_studio.xml
        return []
    if root.tag != ROOT:
        raise errors.InputError(
            f"{path} is XML of another form ({errors.quoted(root.tag)}): export the "
            "task as CVAT for images 1.1."
        )
    if root.find("track") is not None:
        raise errors.InputError(
            f"{path} has tracks of a video: export the task as CVAT for images 1.1."
        )
    found, automatic = [], 0
    for image in root.iter("image"):
        tags = image.findall("tag")
        own = [tag for tag in tags if tag.get("source") != _PROGRAM]
        automatic += len(tags) - len(own)
        if written := _answer(path, image, own, skip_label):
            found.append(written)
    if automatic:
        logging.warning(
            "%s: tags that a program has set (%d) are no answers.",
            errors.printable(path),
            automatic,
        )
    return found


def _root(path: pathlib.Path, text: str) -> ElementTree.Element:
    declared = _DECLARES.search(text)
    if declared:  # entities may expand without end, or name other files
        raise errors.InputError(
            f"{path} declares {declared[0]}, which no export does: export it again."
        )
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        line = error.position[0]
        raise errors.InputError(
            f"{path}, line {line}: this is not XML ({errors.clause(error)}): export or "
            "copy the file again."
        ) from None
    except (ValueError, LookupError) as error:
        raise errors.InputError(
            f"{path} is not XML that can be read: {errors.clause(error)}."
        ) from None


def _answer(
    path: pathlib.Path,
    image: ElementTree.Element,
    tags: list[ElementTree.Element],
    skip_label: str,
) -> Written | None:
    name = image.get("name", "")
    where = f"{path}, image {errors.quoted(name)}"
    labels = sorted({tag.get("label", "") for tag in tags})
    if len(labels) > 1:
        raise errors.InputError(
            f"{where}: it has the tags {', '.join(map(errors.quoted, labels))}: leave "
            "one of them."
        )
    if not labels:
        if any(child.tag in _SHAPES for child in image):
            raise errors.InputError(
                f"{where}: it has shapes but no tag: give the image its class as a tag."
            )
        return None
    skip = labels[0].strip() == skip_label
    return Written(where, "", name, "" if skip else labels[0], skip)
