"""Label Studio: tasks with the suggested class, and the labeling interface."""

import json
import os
import posixpath
import urllib.parse
from typing import Any
from xml.sax import saxutils

from dact_jax.queries import names, query as queries
from dact_jax.queries.query import Item, Query

FROM, TO, TYPE = "label", "image", "choices"  # names in the interface
MODEL = "dact_jax"  # the `model_version` of suggestions
_LOCAL = "/data/local-files/?d="  # where Label Studio serves files of its own machine
_HOTKEYS = "123456789"
_MANY = 20  # classes from which on a box to search them is useful


def tasks(query: Query, image_root: str) -> str:
    """label_studio.json: one task an image, in query order."""
    listed = [
        _task(query, order, item, image_root) for order, item in enumerate(query.items)
    ]
    return json.dumps(listed, indent=1, ensure_ascii=False) + "\n"


def interface(query: Query, image_root: str) -> str:
    """label_studio.xml: the image, and one choice among the classes."""
    del image_root
    values = [saxutils.quoteattr(names.writable(name)) for name in query.class_names]
    choices = [
        f"    <Choice value={value}{_hotkey(number)}/>"
        for number, value in enumerate(values)
    ]
    many = len(query.class_names) > _MANY
    search = f'  <Filter name="filter" toName="{FROM}"/>' if many else ""
    lines = [
        "<View>",
        f'  <Image name="{TO}" value="${TO}" zoom="true"/>',
        *filter(None, [search]),
        f'  <Choices name="{FROM}" toName="{TO}" choice="single" required="true" '
        'showInline="true">',
        *choices,
        "  </Choices>",
        "</View>",
    ]
    return "\n".join(lines) + "\n"


def address(item: Item, image_root: str) -> str:
    """Where Label Studio finds an image.

    Args:
      image_root: the folder of the images below the document root of Label Studio;
        "": the name of the folder that holds the target's files.
    """
    if not image_root and item.path:
        path = os.path.abspath(item.path).replace(os.sep, "/")
        folder = path.removesuffix(f"/{item.file_name}")
        image_root = "" if folder == path else posixpath.basename(folder)
    place = "/".join(filter(None, [image_root.rstrip("/"), item.file_name]))
    return _LOCAL + urllib.parse.quote(place, errors="surrogateescape")


def _task(query: Query, order: int, item: Item, image_root: str) -> dict[str, Any]:
    data = {
        "image": address(item, image_root),
        "dact_id": queries.dact_id(query.campaign, item.id),
        "file_name": names.writable(item.file_name),
        "order": order,
    }
    return {"data": data, "predictions": _predictions(item)}


def _predictions(item: Item) -> list[dict[str, Any]]:
    if not item.suggested:
        return []
    choice = {
        "from_name": FROM,
        "to_name": TO,
        "type": TYPE,
        "value": {TYPE: [names.writable(item.suggested)]},
    }
    score = {} if item.confidence is None else {"score": item.confidence}
    return [{"model_version": MODEL, **score, "result": [choice]}]


def _hotkey(number: int) -> str:
    return f' hotkey="{_HOTKEYS[number]}"' if number < len(_HOTKEYS) else ""
