"""A query: the target images whose labels a person is asked for."""

import hashlib
import json
import math
import pathlib
import re
from typing import Any, NamedTuple

from dact_jax import errors, storage

FOLDER, FILE = "queries", "query.json"
_ROUND = re.compile(r"round_(\d{1,9})(.*)", re.DOTALL)


class Item(NamedTuple):
    """One image of a query."""

    id: str  # as its dataset names it
    file_name: str  # its path below the folder of the target, with slashes
    path: str  # the file; "" where the target has vectors without files
    suggested: str  # the class that the network finds most likely; "" before training
    confidence: float | None  # the probability of that class
    score: float | None  # what the acquisition ranked by; None where it ranks nothing
    digest: str  # "sha256:..." of the file when the query was made; "" without a file


class Query(NamedTuple):
    """What `queries/round_NN/query.json` holds; the other files there repeat it."""

    campaign: str  # 8 hex digits: the data and the classes of the run
    round: int  # the round that will train on the labels; 0: the first labels
    class_names: tuple[str, ...]
    items: tuple[Item, ...]  # in pick order


def campaign(target: str, class_names: tuple[str, ...]) -> str:
    """What distinguishes the labels of one run's data from those of others.

    Args:
      target: the fingerprint of the target (`fingerprint.of`).
    """
    text = "\n".join([target, *class_names])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def dact_id(campaign: str, id: str) -> str:
    """The name of an image in files for other tools: ASCII, without blanks."""
    digest = hashlib.sha256(id.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{campaign}-{digest[:12]}"


def place(folder: pathlib.Path, number: int) -> pathlib.Path:
    """The folder of a round's query in a run's folder."""
    return folder / FOLDER / f"round_{number:02d}"


def text(query: Query) -> str:
    """The content of query.json."""
    record = query._asdict() | {"items": [item._asdict() for item in query.items]}
    # ASCII: a lone surrogate, of a name that is not UTF-8, is kept as an escape.
    return json.dumps(record, indent=1) + "\n"


def read(folder: pathlib.Path) -> Query:
    """The query in the folder of a round.

    Raises:
      InputError: query.json is missing, or is not one.
    """
    path = folder / FILE
    content = storage.read_text(path)
    if not content:
        raise errors.InputError(f"there is no query in {folder}: it has no {FILE}.")
    try:
        return _parse(json.loads(content))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise errors.InputError(
            f"{path} is not a query: {errors.clause(error)}; restore it, or remove the "
            "folder, and the same command writes it again."
        ) from None


def written(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders of all queries in a run's folder, in order of rounds.

    Those that were moved aside, such as round_03_before_1, come before their round's.
    """
    found = {path: _ROUND.match(path.name) for path in (folder / FOLDER).glob("*")}
    rounds = [
        (int(name[1]), not name[2], path)
        for path, name in found.items()
        if name and (path / FILE).is_file()
    ]
    return [path for _, _, path in sorted(rounds)]


def _parse(record: dict[str, Any]) -> Query:
    items = tuple(_item(fields) for fields in record["items"])
    names = tuple(map(_text, record["class_names"]))
    number = record["round"]
    if type(number) is not int or number < 0:
        raise ValueError(f"round is {errors.quoted(number)}")
    return Query(_text(record["campaign"]), number, names, items)


def _item(fields: dict[str, Any]) -> Item:
    names = ("id", "file_name", "path", "suggested", "digest")
    texts = {name: _text(fields[name]) for name in names}
    return Item(
        **texts,
        confidence=_number(fields["confidence"]),
        score=_number(fields["score"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{errors.quoted(value)} is not a text")
    return value


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not math.isfinite(float(value)):
        raise ValueError(f"{errors.quoted(value)} is not a finite number")
    return float(value)
