"""What the text hf:NAME[:SPLIT][,KEY=VALUE]... asks for."""

import csv
import os
from collections.abc import Mapping
from typing import NamedTuple

from dact_jax import errors

PREFIX = "hf:"
_COLUMNS = ("image", "label", "config")  # other keys are columns that choose rows
_FORM = "hf:NAME, hf:NAME:SPLIT, or with ,KEY=VALUE behind, such as ,label=species"


class Spec(NamedTuple):
    text: str  # as it was given
    name: str  # on the Hub, such as org/pets, or of a folder
    split: str = ""  # such as "train" or "train[:100]"; "": all
    image: str = ""  # column; "": the only one of images
    label: str = ""  # column; "": the only one of classes
    config: str = ""  # of the data set; "": the only one
    where: Mapping[str, str] = {}  # column -> the value that its rows have


def parse(text: str) -> Spec:
    """Takes a text such as "hf:org/pets:train,domain=photo" apart.

    A value with a comma stands in quotes. Keys are image, label and config; another
    key is a column, and only the rows with its value are read.

    Raises:
      InputError: it has another form.
    """
    rest = text.removeprefix(PREFIX)
    if os.path.isdir(rest):  # whatever is in its name
        return Spec(text, rest)
    try:
        (cells,) = csv.reader([rest], skipinitialspace=True)
    except (csv.Error, ValueError):
        raise errors.InputError(f"{text!r} must be {_FORM}.") from None
    place, *pairs = cells or [""]
    name, _, split = (place, "", "") if os.path.isdir(place) else place.partition(":")
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise errors.InputError(
                f"{text!r}: {pair!r} is no KEY=VALUE; write {_FORM}."
            )
        if key in values:
            raise errors.InputError(f"{text!r} gives {key!r} twice.")
        values[key] = value
    if not name or (":" in place and not split and not os.path.isdir(place)):
        raise errors.InputError(f"{text!r} must be {_FORM}.")
    named = {key: values.pop(key) for key in _COLUMNS if key in values}
    return Spec(text, name, split, where=values, **named)
