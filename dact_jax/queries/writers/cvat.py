"""CVAT for images 1.1: the labels of a task, and its images in query order."""

import contextlib
from collections.abc import Sequence
from xml.etree import ElementTree

from dact_jax import errors
from dact_jax.data.readers import decoding
from dact_jax.queries import names
from dact_jax.queries.query import Item, Query

SKIP = "skip"  # the label that takes an image out of the pool


def text(query: Query, image_root: str) -> str:
    """The annotations of a task in which nothing has been labeled yet.

    The suggestions are not in it: CVAT imports every tag as an annotation of the task,
    so an export could not tell them from answers.
    """
    del image_root
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    about = {
        "name": f"dact_jax {query.campaign} round {query.round}",
        "size": str(len(query.items)),
        "mode": "annotation",
        "overlap": "0",
    }
    for key, value in about.items():
        ElementTree.SubElement(task, key).text = value
    labels = ElementTree.SubElement(task, "labels")
    for name in (*query.class_names, skip_label(query.class_names)):
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = names.writable(name)
        ElementTree.SubElement(label, "type").text = "tag"
        ElementTree.SubElement(label, "attributes")
    for order, item in enumerate(query.items):
        root.append(_image(order, item))
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def skip_label(class_names: Sequence[str]) -> str:
    """The name of the label that means skip, which no class has."""
    taken, name = {name.casefold() for name in class_names}, SKIP
    while name in taken:
        name = f"dact_{name}"
    return name


def _image(order: int, item: Item) -> ElementTree.Element:
    name = names.writable(item.file_name)
    image = ElementTree.Element("image", id=str(order), name=name)
    with contextlib.suppress(errors.InputError):  # the sheet says why
        if item.path:
            width, height = decoding.dimensions(item.path)
            image.attrib |= {"width": str(width), "height": str(height)}
    return image
